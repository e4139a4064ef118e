"""The interface of a task: everything that fine-tuning needs to know about its data, its loss and its metrics."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from pipeline.data.batch import Batch
from pipeline.data.packing import Int64Array
from pipeline.runlog.terms import Term
from pipeline.tasks.encoding import Encoded

Logits = npt.NDArray[np.float32]
"""(N, C) for N examples."""


class Task(Protocol):
    """A task with its examples, which are in the splits of `pipeline.tasks.splits`; GLUE's MNLI has several dev and
    test splits, such as dev_mismatched.
    """

    @property
    def name(self) -> str:
        """Name on the command line."""

    @property
    def head(self) -> str:
        """Which of the family's heads it needs, a key of `Family.heads`."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes; empty if the model predicts numbers."""

    @property
    def outputs(self) -> int:
        """Number of logits C."""

    @property
    def term(self) -> Term:
        """The term of the loss."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics; the first one chooses the best epoch, and is the better the larger it is."""

    @property
    def splits(self) -> Mapping[str, Encoded]:
        """The examples by split."""

    def targets(self, split: str, rows: Int64Array) -> dict[str, Tensor]:
        """Return the targets of a batch of examples."""

    def fingerprint(self, split: str) -> bytes:
        """Return the targets of a split as bytes, for a checksum; empty if it has none."""

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the sum () of the losses of a micro-batch, which is divided by `batch.totals[term.per]`."""

    def measure(self, split: str, logits: Logits) -> dict[str, float]:
        """Return the metrics of a split with labels."""

    def write_predictions(self, split: str, logits: Logits, directory: Path) -> Path:
        """Write the predictions for a split without labels, and return the file."""


def config_fields(task: Task) -> dict[str, Any]:
    """Return the fields of a `config.json` that name the classes, as `transformers` reads them."""
    if not task.labels:
        return {"num_labels": task.outputs, "problem_type": "regression"}
    names = dict(enumerate(task.labels))
    return {"id2label": names, "label2id": {name: number for number, name in names.items()}}
