"""Predictions of a fine-tuned model for the texts of a file or of standard input."""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from pipeline.conversion import huggingface, task_models
from pipeline.jobs.finetuning.inputs import read_sequences
from pipeline.jobs.inference import compute_logits, default_device
from pipeline.tasks.classification import texts_of
from pipeline.tasks.encoding import encode
from pipeline.tasks.tables import Row, read_rows
from preprocessing.files import readable

WINDOW = 4096
"""Examples that are read before they are computed in batches of similar length."""


@dataclass(frozen=True)
class Reading:
    """How examples are read."""

    first: str
    """Column with the text."""
    second: str
    """Column with the second text of a pair; empty: none."""
    max_length: int
    """Tokens to which longer examples are cut; 0: the model's longest sequence."""
    max_tokens: int
    """Bound on the tokens that are computed at once."""


def write_predictions(directory: Path, file: Path | None, reading: Reading, out: TextIO) -> None:
    """Write a JSON object per example, in the order of the examples.

    Args:
        directory: a fine-tuned model.
        file: the examples; None: the lines of standard input.
        reading: how they are read.
        out: receives the lines.

    Raises:
        ValueError: the directory holds no fine-tuned model, or an example cannot be read.
        OSError: the file cannot be read.
    """
    loaded = task_models.read(directory)
    tokenizer = huggingface.load_tokenizer(directory)
    longest = huggingface.longest_sequence(loaded.family, loaded.config)
    if reading.max_length > longest:
        raise ValueError(f"--max_length {reading.max_length}: must be at most {longest}, the positions of {directory}")
    sequences = read_sequences(directory, tokenizer, loaded.family, reading.max_length or longest)
    model = loaded.model.to(default_device())
    columns = tuple(filter(None, (reading.first, reading.second)))
    rows = iter(read_examples(file, columns))
    while window := list(islice(rows, WINDOW)):
        texts = [texts_of(row, columns) for row in window]
        logits = compute_logits(model, encode(texts, sequences), sequences, reading.max_tokens)
        for example, values in zip(texts, logits, strict=True):
            shown = dict(zip(columns, example, strict=True)) | prediction(values, loaded.labels)
            out.write(json.dumps(shown, ensure_ascii=False) + "\n")
        out.flush()


def read_examples(file: Path | None, columns: tuple[str, ...]) -> Iterable[Row]:
    """Return the rows of a table, or each line of a text file or of standard input as a row.

    Raises:
        ValueError: lines are read where pairs of texts are wanted, or the file is not in its format.
    """
    if file is not None and file.suffix != ".txt":
        return read_rows(file)
    if len(columns) > 1:
        raise ValueError(
            f"--second {columns[1]}: {file or 'standard input'} has one text a line; give a table (.tsv, .csv, .jsonl)"
        )
    return _lines(sys.stdin, "standard input", columns[0]) if file is None else _file_lines(file, columns[0])


def _file_lines(file: Path, column: str) -> Iterator[Row]:
    with readable(file), file.open(encoding="utf-8-sig") as lines:
        yield from _lines(lines, str(file), column)


def _lines(lines: Iterable[str], place: str, column: str) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield Row(f"{place}:{number}", {column: line.strip()})


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
