"""The interface of a task: everything that fine-tuning needs to know about its data, its loss and its metrics."""

from collections.abc import Mapping, Sequence
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
"""(R, C): a row for each sequence of a split, or for each token of each sequence, special tokens included, in order."""


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
        """Names of the classes; empty if the model does not choose among named classes."""

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
    def pipeline_tag(self) -> str:
        """Name of the task on model cards."""

    @property
    def splits(self) -> Mapping[str, Encoded]:
        """The examples by split."""

    @property
    def measured(self) -> tuple[str, ...]:
        """Splits with labels that are measured with the best epoch, besides train and dev."""

    @property
    def predicted(self) -> tuple[str, ...]:
        """Splits whose predictions are written."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What reading the examples has changed or left out, in sentences; they are shown when training begins."""

    def config_fields(self, metrics: Mapping[str, float]) -> dict[str, Any]:
        """Return the fields of `config.json` that belong to the task, as `transformers` reads them.

        Args:
            metrics: metrics of the dev split with the weights that are exported.
        """

    def targets(self, split: str, examples: Int64Array) -> dict[str, Tensor]:
        """Return the targets of a batch of examples."""

    def totals(self, split: str, examples: Int64Array) -> dict[str, int]:
        """Return further counts of a batch by which a loss may be divided, besides "samples" and "tokens"."""

    def fingerprint(self, split: str) -> bytes:
        """Return the targets of a split as bytes, for a checksum; empty if it has none."""

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the sum () of the losses of a micro-batch, which is divided by `batch.totals[term.per]`."""

    def measure(self, split: str, logits: Logits) -> dict[str, float]:
        """Return the metrics of a split with labels."""

    def write_predictions(self, split: str, logits: Logits, directory: Path) -> Path:
        """Write the predictions for a split, and return the file."""


def class_fields(labels: Sequence[str]) -> dict[str, Any]:
    """Return the fields of `config.json` that name classes."""
    names = dict(enumerate(labels))
    return {"id2label": names, "label2id": {name: number for number, name in names.items()}}
