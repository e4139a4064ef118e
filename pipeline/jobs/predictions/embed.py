"""Embeddings of texts: the mean of the last layer's hidden states of the text's tokens."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.conversion import task_models, vocabulary
from pipeline.conversion.importing import family_of
from pipeline.conversion.task_models import Loaded
from pipeline.families import get_family
from pipeline.jobs.inference import compute_logits
from pipeline.jobs.predictions.base import Predictor, Reading
from pipeline.model.task_heads import MeanPooling, TaskModel
from pipeline.tasks.classification import texts_of
from pipeline.tasks.encoding import encode
from pipeline.tasks.tables import Row

KIND = "embed"


def load(directory: Path, tokenizer: Any) -> Loaded:
    """Read the encoder of a model, whatever its heads.

    Args:
        directory: a model of a family.
        tokenizer: its tokenizer of `transformers`.

    Raises:
        ValueError: it is no model of a family, or its files do not fit together; the message names the directory.
    """
    family = get_family(family_of(directory))
    head = task_models.head_of(family, "sequence")  # replaced by the mean
    begun = task_models.begin(directory, family, head, 1, 0.0, vocab_size=vocabulary.size_of(tokenizer), seed=0)
    single = family.template.single
    place = single.index("A")
    model = TaskModel(begun.model.encoder, MeanPooling(before=place, after=len(single) - place - 1))
    return Loaded(model.eval(), family, KIND, begun.config, begun.vocab_size, (), {})


def columns(reading: Reading) -> tuple[str, ...]:
    """Return the column of the text, `text` by default.

    Raises:
        ValueError: there is a second column.
    """
    if reading.second:
        raise ValueError(f"--second {reading.second}: an embedding is that of one text; remove the option")
    return (reading.first or "text",)


def predict(predictor: Predictor, rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Yield each text with its embedding, a list of H numbers.

    Raises:
        ValueError: a row lacks a text; the message names file and line.
    """
    (name,) = columns(predictor.reading)
    texts = [texts_of(row, (name,)) for row in rows]
    encoded = encode(texts, predictor.sequences)
    means = compute_logits(predictor.loaded.model, encoded, predictor.sequences, predictor.reading.max_tokens)
    if predictor.reading.normalize:
        means = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    for (text,), mean in zip(texts, means.astype(np.float64).round(6).tolist(), strict=True):
        yield {name: text, "embedding": mean}
