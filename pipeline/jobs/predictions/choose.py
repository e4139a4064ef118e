"""The most likely ending of several."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.jobs.inference import compute_logits
from pipeline.jobs.predictions.base import Predictor, Reading
from pipeline.tasks.choices import FIRST_TEXT, SECOND_TEXT, choices_of, endings_of
from pipeline.tasks.classification import texts_of
from pipeline.tasks.encoding import encode
from pipeline.tasks.tables import Row


def columns(reading: Reading) -> tuple[str, ...]:
    """Return the columns of the first text and of the beginning of the second one, as in SWAG.

    Raises:
        ValueError: other columns are named.
    """
    if reading.first or reading.second:
        raise ValueError(
            f"--first, --second: a model of multiple choice reads {FIRST_TEXT}, {SECOND_TEXT}, ending0, ending1 ...; "
            "remove the options and name the columns so"
        )
    return (FIRST_TEXT, SECOND_TEXT)


def predict(predictor: Predictor, rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Yield the texts of each row with the number and the text of the most likely ending, and its probability.

    Raises:
        ValueError: a row lacks a text or one of the endings of the first row; the message names file and line.
    """
    endings = endings_of(rows[0])
    pairs = [pair for row in rows for pair in choices_of(row, endings)]
    encoded = replace(encode(pairs, predictor.sequences), group=len(endings))
    logits = compute_logits(predictor.loaded.model, encoded, predictor.sequences, predictor.reading.max_tokens)
    for row, values in zip(rows, logits.reshape(len(rows), -1).astype(np.float64), strict=True):
        weights = np.exp(values - values.max())
        best = int(values.argmax())
        texts = dict(zip((FIRST_TEXT, SECOND_TEXT), texts_of(row, (FIRST_TEXT, SECOND_TEXT)), strict=True))
        score = round(float(weights[best] / weights.sum()), 6)
        yield texts | {"choice": best, "ending": row[endings[best]], "score": score}
