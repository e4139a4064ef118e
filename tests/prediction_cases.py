"""Small models with the head of a task, texts for them, and what `predict` writes."""

import io
import json

import torch
import transformers
from finetuning_data import VOCAB_SIZE, write_model

from pipeline.conversion import task_models
from pipeline.families import get_family
from pipeline.predict import predict
from pipeline.tasks.base import class_fields

TEXTS = ["w1 w2 w3 w5 w6 w7 w9", "w2", "w9 w9 w3", "w5 w1"]


def write_task_model(folder, head, outputs, **fields):
    """Write a pre-trained BERT to folder/base, and one with a new head to folder/model, which is returned.

    Args:
        folder: an existing directory.
        head: name of the head in `Family.heads`.
        outputs: number of its logits.
        fields: further fields of `config.json`.
    """
    family, base = get_family("bert"), write_model(folder / "base")
    begun = task_models.begin(base, family, family.heads[head], outputs, 0.1, vocab_size=VOCAB_SIZE, seed=5)
    weights = begun.model.state_dict()
    task_models.write(family, family.heads[head], weights, begun.config, fields, base, folder / "model", "")
    return folder / "model"


def write_classifier(folder):
    """Write a model with the classes a, b and c, as `write_task_model` does."""
    return write_task_model(folder, "sequence", 3, **class_fields("abc"))


def expected_classes(model, texts, pairs=None):
    """Return (class, probability) of each text or pair, which `transformers` computes with a classifier."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(model).eval()
    inputs = tokenizer(texts, pairs, padding=True, return_tensors="pt")
    with torch.inference_mode():
        best = loaded(**inputs).logits.softmax(1).max(1)
    return [("abc"[number], value) for number, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)]


def stdin(text):
    """Return standard input with a text."""
    return io.TextIOWrapper(io.BytesIO(text.encode()))


def lines_of(capsys, *arguments):
    """Return the objects that `predict` writes to standard output."""
    capsys.readouterr()  # what was printed before, such as DeepSpeed's choice of a device when it is imported
    predict([*map(str, arguments)])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]
