"""Classes of texts and pairs of texts, or numbers."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.jobs.inference import compute_logits
from pipeline.jobs.predictions.base import Predictor, Reading
from pipeline.tasks.base import Logits
from pipeline.tasks.classification import texts_of
from pipeline.tasks.encoding import encode
from pipeline.tasks.tables import Row
from pipeline.tasks.windows import divide_texts, pool, read_rule


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
    for example, values in zip(texts, logits_of(predictor, texts), strict=True):
        yield dict(zip(names, example, strict=True)) | prediction(values, predictor.loaded.labels)


def logits_of(predictor: Predictor, texts: list[tuple[str, ...]]) -> Logits:
    """Return the logits (N, C) of examples, pooled over windows if the model was fine-tuned on windows.

    Raises:
        ValueError: examples for such a model have two texts, or its `config.json` is damaged.
    """
    model, sequences, reading = predictor.loaded.model, predictor.sequences, predictor.reading
    rule = read_rule(predictor.loaded.fields)
    if rule is None:
        return compute_logits(model, encode(texts, sequences), sequences, reading.max_tokens)
    if reading.second:
        raise ValueError(f"--second {reading.second}: the model divides long texts and reads no pairs; remove it")
    if reading.max_length:
        raise ValueError(f"--max_length {reading.max_length}: the model divides long texts into windows; remove it")
    windows = divide_texts([text for (text,) in texts], sequences, rule)
    return pool(compute_logits(model, windows.encoded, sequences, reading.max_tokens), windows.owners, rule.pooling)


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
