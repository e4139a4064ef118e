"""Multiple choice in the form of SWAG: of several endings of a text, one is right.

Source: Zellers et al. 2018 (https://arxiv.org/abs/1808.05326). A choice is a pair of texts, `sent1`, and `sent2` with
the ending, as in Devlin et al. 2018, section 4.4.

Shapes: E questions, K choices of each, B = E K sequences.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.data.batch import Batch
from pipeline.data.packing import Int64Array
from pipeline.runlog.terms import Term
from pipeline.tasks.base import Logits
from pipeline.tasks.classification import read_tables, texts_of, value_of
from pipeline.tasks.encoding import Encoded, Sequences, encode
from pipeline.tasks.metrics import measure
from pipeline.tasks.splits import TRAIN, is_labelled
from pipeline.tasks.tables import Row
from preprocessing.files import write_text

NAME, FIRST_TEXT, SECOND_TEXT, ENDING, LABEL = "swag", "sent1", "sent2", "ending", "label"


@dataclass(frozen=True, eq=False)
class MultipleChoice:
    """Questions with their choices; see `pipeline.tasks.base.Task`. An example is a question."""

    splits: Mapping[str, Encoded]
    """The questions of each split, as groups of K sequences."""
    values: Mapping[str, Int64Array]
    """(E,) number of the right choice, for each split with labels."""
    name: str = NAME
    head: str = "choices"
    labels: tuple[str, ...] = ()
    outputs: int = 1
    metrics: tuple[str, ...] = ("accuracy",)
    pipeline_tag: str = "multiple-choice"
    measured: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def term(self) -> Term:
        """The term of the loss: a mean over the questions."""
        return Term("choice", "choice", "samples", counted=False)

    @property
    def predicted(self) -> tuple[str, ...]:
        """The splits without labels."""
        return tuple(split for split in self.splits if not is_labelled(split))

    def config_fields(self, metrics: Mapping[str, float]) -> dict[str, Any]:
        """Return no fields: the class has one logit for each choice, whatever their number."""
        return {}

    def targets(self, split: str, examples: Int64Array) -> dict[str, Tensor]:
        """Return "labels" (E,): int64 numbers of the right choices."""
        return {"labels": torch.from_numpy(self.values[split][examples])}

    def totals(self, split: str, examples: Int64Array) -> dict[str, int]:
        """Return no further counts."""
        return {}

    def fingerprint(self, split: str) -> bytes:
        """Return the right choices of a split as bytes; empty if it has no labels."""
        return self.values[split].tobytes() if split in self.values else b""

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the sum () over questions of the cross entropies in nats among their choices, of logits (B, 1)."""
        labels = batch.targets["labels"]
        return functional.cross_entropy(logits.float().reshape(len(labels), -1), labels, reduction="sum")

    def measure(self, split: str, logits: Logits) -> dict[str, float]:
        """Return the metrics of a split with labels."""
        return measure(self.metrics, self.values[split], self.predictions(split, logits))

    def predictions(self, split: str, logits: Logits) -> Int64Array:
        """Return (E,) numbers of the choices with the largest logits, of logits (B, 1)."""
        return logits.reshape(len(self.splits[split]), -1).argmax(1)

    def write_predictions(self, split: str, logits: Logits, directory: Path) -> Path:
        """Write the number of the chosen ending of each question, and return the file."""
        lines = [f"{number}\t{chosen}" for number, chosen in enumerate(self.predictions(split, logits))]
        path = directory / f"{split}.tsv"
        write_text(path, "\n".join(["index\tprediction", *lines]) + "\n")
        return path


def read_choices(data: Path, sequences: Sequences) -> MultipleChoice:
    """Read and encode the questions of the tables train, dev and, if there is one, test of a directory.

    Raises:
        ValueError: a table is missing or not in its format, or a label is the number of no ending; the message names
            file and line.
    """
    rows = read_tables(data)
    endings = endings_of(rows[TRAIN][0])
    numbers = [str(number) for number in range(len(endings))]
    values = {
        split: np.array([value_of(row, LABEL, numbers) for row in found], np.int64)
        for split, found in rows.items()
        if is_labelled(split)
    }
    splits = {}
    for split, found in rows.items():
        encoded = encode([pair for row in found for pair in choices_of(row, endings)], sequences)
        splits[split] = replace(encoded, group=len(endings))
    return MultipleChoice(splits, values)


def endings_of(row: Row) -> tuple[str, ...]:
    """Return the columns with the endings: ending0, ending1 and so on.

    Raises:
        ValueError: there are fewer than two.
    """
    found = tuple(name for name in row.values if name.removeprefix(ENDING).isdecimal() and name.startswith(ENDING))
    expected = tuple(f"{ENDING}{number}" for number in range(max(2, len(found))))
    for name in expected:
        row[name]
    return expected


def choices_of(row: Row, endings: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the pairs of texts of a question, one for each ending.

    Raises:
        ValueError: the row lacks a text, or has another number of endings; the message names file and line.
    """
    if (found := endings_of(row)) != tuple(endings):
        raise ValueError(
            f"{row.place}: has {len(found)} endings, the first question has {len(endings)}; give all questions equally "
            "many"
        )
    first, second, *ends = texts_of(row, (FIRST_TEXT, SECOND_TEXT, *endings))
    return [(first, f"{second} {end}".strip()) for end in ends]
