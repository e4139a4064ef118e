"""Classification of texts and pairs of texts, and regression: GLUE, and tables with columns of any name.

Shapes: N examples, B of a batch, C classes; C = 1 for regression.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from numbers import Number
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.data.batch import Batch
from pipeline.data.packing import Int64Array
from pipeline.runlog.terms import Term
from pipeline.tasks import glue
from pipeline.tasks.base import Logits, class_fields
from pipeline.tasks.config import TextConfig
from pipeline.tasks.encoding import Encoded, Sequences, encode
from pipeline.tasks.glue import GLUE, submission_file
from pipeline.tasks.lines import is_text
from pipeline.tasks.metrics import measure
from pipeline.tasks.splits import DEV, TEST, TRAIN, is_labelled
from pipeline.tasks.tables import SUFFIXES, Row, read_rows
from pipeline.tasks.windows import FIELD, WindowRule, divide_texts, pool, rule_of
from preprocessing.files import write_text


class Columns(NamedTuple):
    """Where an example is in a row."""

    texts: tuple[str, ...]
    label: str


@dataclass(frozen=True, eq=False)
class Classification:
    """A classification or regression with its examples; see `pipeline.tasks.base.Task`."""

    name: str
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    splits: Mapping[str, Encoded]
    values: Mapping[str, npt.NDArray[np.generic]]
    """(N,) int64 classes or fp32 numbers of each split with labels."""
    weights: Tensor | None = None
    """(C,) factors of the losses of the classes; None: 1."""
    owners: Mapping[str, Int64Array] = field(default_factory=dict)
    """(W,) the text of each window by split, if texts are divided: then W windows are the examples in `splits`."""
    rule: WindowRule | None = None
    """How texts are divided; None: they are not."""
    pipeline_tag: str = "text-classification"
    notes: tuple[str, ...] = ()

    @property
    def head(self) -> str:
        """The family's head that it needs."""
        return "sequence"

    @property
    def outputs(self) -> int:
        """Number of logits C."""
        return len(self.labels) or 1

    @property
    def term(self) -> Term:
        """The term of the loss: a mean over the samples."""
        return Term("label", "label", "samples", counted=False, unit="nats" if self.labels else "squared error")

    @property
    def measured(self) -> tuple[str, ...]:
        """Further dev splits."""
        return tuple(split for split in self.splits if split.startswith(DEV) and split != DEV)

    @property
    def predicted(self) -> tuple[str, ...]:
        """The splits without labels."""
        return tuple(split for split in self.splits if not is_labelled(split))

    def config_fields(self, metrics: Mapping[str, float]) -> dict[str, Any]:
        """Return the names of the classes, or that the model predicts a number."""
        fields = class_fields(self.labels) if self.labels else {"num_labels": 1, "problem_type": "regression"}
        return fields | ({FIELD: asdict(self.rule)} if self.rule else {})

    def targets(self, split: str, examples: Int64Array) -> dict[str, Tensor]:
        """Return "labels" (B,): int64 classes, or fp32 numbers."""
        texts = self.owners[split][examples] if self.rule else examples
        return {"labels": torch.from_numpy(self.values[split][texts])}

    def totals(self, split: str, examples: Int64Array) -> dict[str, int]:
        """Return no further counts."""
        return {}

    def fingerprint(self, split: str) -> bytes:
        """Return the labels of a split as bytes; empty if it has none."""
        return self.values[split].tobytes() if split in self.values else b""

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the sum () of weighted cross entropies in nats, or of squared differences, of logits (B, C)."""
        labels = batch.targets["labels"]
        if not self.labels:
            return functional.mse_loss(logits.float()[:, 0], labels, reduction="sum")
        weights = None if self.weights is None else self.weights.to(logits.device)
        return functional.cross_entropy(logits.float(), labels, weights, reduction="sum")

    def measure(self, split: str, logits: Logits) -> dict[str, float]:
        """Return the metrics of a split with labels."""
        return measure(self.metrics, self.values[split], self.predictions(split, logits))

    def predictions(self, split: str, logits: Logits) -> npt.NDArray[np.generic]:
        """Return (N,) classes of the largest logits, or numbers, of the texts of a split."""
        if self.rule:
            logits = pool(logits, self.owners[split], self.rule.pooling)
        return logits.argmax(1) if self.labels else logits[:, 0]

    def write_predictions(self, split: str, logits: Logits, directory: Path) -> Path:
        """Write the predictions as the server of GLUE expects them, and return the file."""
        path = directory / (submission_file(GLUE[self.name], split) if self.name in GLUE else f"{split}.tsv")
        shown = [self.labels[p] if self.labels else f"{p:.3f}" for p in self.predictions(split, logits)]
        lines = ["index\tprediction", *(f"{number}\t{text}" for number, text in enumerate(shown))]
        write_text(path, "\n".join(lines) + "\n")
        return path


def read_classification(
    name: str, data: Path, text: TextConfig, sequences: Sequences, balanced: bool
) -> Classification:
    """Read and encode the examples of a task.

    Args:
        name: a task of GLUE, or "classification".
        data: directory of the files.
        text: columns of tables.
        sequences: how the model reads text.
        balanced: whether the loss of each class is weighted by the inverse of its frequency in the training split.

    Raises:
        ValueError: a file is missing or not in its format, or a label is unknown; the message names file and line.
    """
    if name in GLUE:
        task = GLUE[name]
        rows, columns = glue.read_splits(task, data), Columns(task.texts, task.label)
        labels, metrics = task.labels, task.metrics
    else:
        rows, columns = read_tables(data), Columns(tuple(filter(None, (text.first, text.second))), text.label)
        labels = () if text.regression else classes_of(rows[TRAIN], columns.label)
        metrics = ("accuracy", "f1_macro") if labels else ("pearson", "spearman", "mean_squared_error")
    values = {
        split: np.array([value_of(row, columns.label, labels) for row in found], np.int64 if labels else np.float32)
        for split, found in rows.items()
        if is_labelled(split)
    }
    texts = {split: [texts_of(row, columns.texts) for row in found] for split, found in rows.items()}
    weights = balanced_weights(values[TRAIN], len(labels)) if balanced and labels else None
    if text.long == "window":
        return divided(Classification(name, labels, metrics, {}, values, weights), texts, text, sequences)
    encoded = {split: encode(found, sequences) for split, found in texts.items()}
    return Classification(name, labels, metrics, encoded, values, weights)


def divided(
    task: Classification, texts: Mapping[str, Sequence[tuple[str, ...]]], text: TextConfig, sequences: Sequences
) -> Classification:
    """Return a task whose examples are the windows of its texts.

    Args:
        task: the task, without examples.
        texts: the texts of each split.
        text: how they are divided.
        sequences: how the model reads text.

    Raises:
        ValueError: examples have two texts, or tokens would be in no window.
    """
    if any(len(example) > 1 for found in texts.values() for example in found):
        raise ValueError(f"text.long = window: {task.name} has pairs of texts, which are not divided; set cut")
    rule = rule_of(text)
    windows = {split: divide_texts([one for (one,) in found], sequences, rule) for split, found in texts.items()}
    notes = tuple(f"{split}: {len(texts[split]):,} texts, {len(windows[split].owners):,} windows" for split in texts)
    encoded = {split: found.encoded for split, found in windows.items()}
    owners = {split: found.owners for split, found in windows.items()}
    return replace(task, splits=encoded, owners=owners, rule=rule, notes=notes)


def read_tables(data: Path) -> dict[str, list[Row]]:
    """Return the rows of the tables train, dev (or validation, or val) and, if there is one, test of a directory.

    Raises:
        ValueError: the directory has no table train or dev, or two of one name.
    """
    found: dict[str, list[Row]] = {}
    for split, names in ((TRAIN, (TRAIN,)), (DEV, (DEV, "validation", "val")), (TEST, (TEST,))):
        paths = [path for stem in names for end in SUFFIXES if (path := data / f"{stem}{end}").is_file()]
        if len(paths) > 1:
            raise ValueError(f"{data}: has both {paths[0].name} and {paths[1].name}; keep one of them")
        if paths:
            found[split] = read_rows(paths[0])
        elif split != TEST:
            expected = " or ".join(f"{stem}{{{','.join(SUFFIXES)}}}" for stem in names)
            raise ValueError(f"{data}: has no {expected}; write the {split} examples there")
    return found


def texts_of(row: Row, columns: Sequence[str]) -> tuple[str, ...]:
    """Return the texts of a row.

    Raises:
        ValueError: the row lacks a column, or holds something else than text there.
    """
    texts = tuple(row[column] for column in columns)
    for column, value in zip(columns, texts, strict=True):
        if not is_text(value):
            raise ValueError(
                f"{row.place}: {column} = {value!r}: must be Unicode text; correct it, or name another column"
            )
    return texts


def classes_of(rows: Sequence[Row], column: str) -> tuple[str, ...]:
    """Return the values of a column in ascending order: of their numbers if all are whole numbers.

    Raises:
        ValueError: there is only one, or a row has no label.
    """
    names = {label_of(row, column) for row in rows}
    if len(names) < 2:
        raise ValueError(
            f"{rows[0].place}: all {len(rows)} training examples have the {column} {names.pop()!r}; give examples of "
            "at least two classes"
        )
    return tuple(sorted(names, key=int if all(name.isdecimal() for name in names) else None))


def label_of(row: Row, column: str) -> str:
    """Return the label of a row as text.

    Raises:
        ValueError: the row has no label, or one that is neither text nor a number; the message names file and line.
    """
    value = row[column]
    if not (is_text(value) or isinstance(value, Number)) or value == "" or value != value:  # NaN is a missing value
        raise ValueError(f"{row.place}: {column} = {value!r}: must be text or a number; label or remove the row")
    return str(value)


def value_of(row: Row, column: str, labels: Sequence[str]) -> float:
    """Return the class or number in the label column of a row.

    Raises:
        ValueError: it is no class of the training examples, or no finite number of 32 bits.
    """
    value = label_of(row, column)
    if labels:
        if value not in labels:
            shown = ", ".join(labels[:10]) + (", ..." if len(labels) > 10 else "")
            raise ValueError(f"{row.place}: {column} = {value!r}: must be one of {shown}; correct or remove the row")
        return labels.index(value)
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or abs(number) > float(np.finfo(np.float32).max):
        raise ValueError(f"{row.place}: {column} = {value!r}: must be a finite number; correct or remove the row")
    return number


def balanced_weights(classes: npt.NDArray[np.generic], number: int) -> Tensor:
    """Return (C,) n / (C n_c) for n examples, n_c of them of class c; the mean over the examples is 1."""
    counts = np.bincount(classes.astype(np.int64), minlength=number)
    return torch.from_numpy(len(classes) / (number * np.maximum(counts, 1))).float()
