"""Examples of GLUE tasks, read from the files that GLUE distributes."""

import csv
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Task:
    """Columns and labels of a task's files."""

    texts: tuple[str, ...]
    """Columns with a text, or with the two texts of a pair."""
    labels: tuple[str, ...]
    """Values of the column "label" in the order of the classes."""


TASKS = {
    "SST-2": Task(("sentence",), ("0", "1")),
    "RTE": Task(("sentence1", "sentence2"), ("entailment", "not_entailment")),
}


@dataclass(frozen=True)
class Example:
    """A labelled text or pair of texts."""

    texts: tuple[str, ...]
    label: int


def read_examples(path: Path, task: Task, most: int = 0) -> list[Example]:
    """Returns the examples of a tab-separated file with a header, in which quotation marks have no meaning.

    Args:
        path: the file.
        task: its columns.
        most: number of examples that are read; 0: all.

    Raises:
        KeyError: the file lacks a column.
        ValueError: a label is none of the task's.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [
        Example(tuple(row[column] for column in task.texts), task.labels.index(row["label"]))
        for row in rows[: most or None]
    ]
