"""Classes of texts and pairs of texts, or numbers."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.jobs.inference import compute_logits
from pipeline.jobs.predictions.base import Predictor, Reading
from pipeline.tasks.classification import texts_of
from pipeline.tasks.encoding import encode
from pipeline.tasks.tables import Row


def columns(reading: Reading) -> tuple[str, ...]:
    """Return the column of the text, `text` by default, and that of the second one if examples are pairs."""
    return tuple(filter(None, (reading.first or "text", reading.second)))


def predict(predictor: Predictor, rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Yield the texts of each row with the predicted class and its probability, or with the predicted number.

    Raises:
        ValueError: a row lacks a text; the message names file and line.
    """
    names = columns(predictor.reading)
    texts = [texts_of(row, names) for row in rows]
    encoded = encode(texts, predictor.sequences)
    logits = compute_logits(predictor.loaded.model, encoded, predictor.sequences, predictor.reading.max_tokens)
    for example, values in zip(texts, logits, strict=True):
        yield dict(zip(names, example, strict=True)) | prediction(values, predictor.loaded.labels)


def prediction(logits: npt.NDArray[np.float32], labels: tuple[str, ...]) -> dict[str, Any]:
    """Return the class of the largest logit and its probability, or the number of a regression.

    Args:
        logits: (C,) logits of an example.
        labels: names of the classes; empty: the logit is the number.
    """
    if not labels:
        return {"value": round(float(logits[0]), 6)}
    exponentials = np.exp(logits.astype(np.float64) - logits.max())
    best = int(logits.argmax())
    return {"label": labels[best], "score": round(float(exponentials[best] / exponentials.sum()), 6)}
