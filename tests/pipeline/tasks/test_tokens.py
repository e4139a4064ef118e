"""Token classification: loss and predictions equal those of `transformers`, and tags are checked."""

import numpy as np
import pytest
import torch
import transformers
from finetuning_data import VOCAB_SIZE, write_conll, write_model

from pipeline.conversion import huggingface, task_models
from pipeline.data.template import Template
from pipeline.families import get_family
from pipeline.jobs.inference import compute_logits
from pipeline.tasks.config import TokensConfig
from pipeline.tasks.encoding import Sequences, batch_of, pieces_of, tokens_of
from pipeline.tasks.tokens import read_tokens

TRAIN = ["w1p4:B-x w2:I-x w3:O w5p8:B-y", "w6:O w7:O", "w9:I-y w1:O w2:B-x"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The directory of a model."""
    return write_model(tmp_path_factory.mktemp("tokens") / "model")


def read(model, data, max_length=16):
    tokenizer = huggingface.load_tokenizer(model)
    ids = {role: getattr(tokenizer, f"{role}_token_id") for role in ("cls", "sep", "pad")}
    sequences = Sequences(tokens_of(tokenizer), ids, Template(), max_length)
    return read_tokens(data, TokensConfig(), sequences, pieces_of(tokenizer)), sequences


def test_loss_and_tags_are_those_of_transformers(model, tmp_path):
    """The loss is the mean over the first tokens of words, and the tags are the most likely ones there."""
    write_conll(tmp_path, train=TRAIN, dev=TRAIN)
    task, sequences = read(model, tmp_path)
    assert task.labels == ("O", "B-x", "I-x", "B-y", "I-y")
    family = get_family("bert")
    begun = task_models.begin(model, family, family.heads["tokens"], 5, 0.0, vocab_size=VOCAB_SIZE, seed=5)
    theirs = transformers.BertForTokenClassification.from_pretrained(model, num_labels=5).eval()
    theirs.classifier.load_state_dict(begun.model.head.classifier.state_dict())
    words = [[pair.split(":")[0] for pair in sentence.split()] for sentence in TRAIN]
    inputs = transformers.AutoTokenizer.from_pretrained(model)(
        words, is_split_into_words=True, padding=True, return_tensors="pt"
    )
    labels = torch.full_like(inputs["input_ids"], -100)
    for number, sentence in enumerate(task.sentences["train"]):
        owners = inputs.word_ids(number)
        for word, tag in enumerate(sentence.tags):
            labels[number, owners.index(word)] = task.labels.index(tag)
    expected = theirs(**inputs, labels=labels)
    rows = np.arange(3)
    totals = {"samples": 3, **task.totals("train", rows)}
    batch = batch_of(task.splits["train"], rows, task.targets("train", rows), sequences, totals)
    loss = task.loss(begun.model.eval()(batch), batch) / totals[task.term.per]
    torch.testing.assert_close(loss, expected.loss, rtol=0, atol=1e-5)
    best = expected.logits.argmax(2)
    tags = [[task.labels[best[number, at]] for at in (labels[number] >= 0).nonzero()] for number in range(3)]
    logits = compute_logits(begun.model, task.splits["dev"], sequences, max_tokens=9)
    assert task.predictions("dev", logits) == tags


def test_metrics_count_words_and_entities(model, tmp_path):
    """A word without a token is predicted as O, and entities may extend over the parts of a divided sentence."""
    write_conll(tmp_path, train=TRAIN, dev=["w1:B-x w2:I-x \u200b:I-x w3:O", "w5:O w6:B-y"])
    task, _ = read(model, tmp_path, max_length=3)
    best = {"w1": 1, "w2": 2, "w3": 0, "w5": 0, "w6": 3}
    logits = np.zeros((task.splits["dev"].lengths.sum(), 5), np.float32)
    logits[task.sequences["dev"].rows, list(best.values())] = 1
    assert task.predictions("dev", logits) == [["B-x", "I-x", "O", "O"], ["O", "B-y"]]
    assert task.measure("dev", logits) == {"f1": 0.5, "precision": 0.5, "recall": 0.5, "accuracy": 5 / 6}
    assert task.notes[-2:] == (
        "dev: 2 sentences longer than text.max_length = 3 are divided between words",
        "dev: 1 words without a token have no part in the loss and the predicted tag O",
    )


def test_predictions_are_written_as_conlleval_reads_them(model, tmp_path):
    """A line has the word, its tag where the file has tags, and the predicted tag."""
    write_conll(tmp_path, train=TRAIN, dev=TRAIN, test=["w1:O w2:B-x", "w3:O"])
    task, _ = read(model, tmp_path)
    logits = np.eye(5, dtype=np.float32)[np.zeros(task.splits["test"].lengths.sum(), int)]
    written = task.write_predictions("test", logits, tmp_path)
    assert written.read_text() == "w1\tO\tO\nw2\tB-x\tO\n\nw3\tO\tO\n\n"
    assert (task.measured, task.predicted) == (("test",), ("test",))
    (tmp_path / "test.conll").write_text("w1\nw2\n")
    task, _ = read(model, tmp_path)
    assert task.write_predictions("test", logits[:4], tmp_path).read_text() == "w1\tO\nw2\tO\n\n"
    assert (task.measured, task.predicted, task.fingerprint("test")) == ((), ("test",), b"")


@pytest.mark.parametrize(
    ("train", "dev", "message"),
    [
        (TRAIN, ["w1:O", "w2:O w3:B-z"], r"dev.conll:4: tag 'B-z': must be O or of an entity of .* sentences \(x, y\)"),
        (["w1:O"], TRAIN, r"train.conll: all tags are O; give training sentences with entities"),
    ],
)
def test_unknown_tags_are_named(model, tmp_path, train, dev, message):
    """A kind of entity that the training sentences lack is an error that names file and line."""
    write_conll(tmp_path, train=train, dev=dev)
    with pytest.raises(ValueError, match=message):
        read(model, tmp_path)
