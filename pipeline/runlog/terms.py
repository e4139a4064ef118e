"""The terms of a loss, from which metrics, reports and model cards take their names."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Term:
    """One term of a loss: a sum over the global batch, divided by one of the batch's counts."""

    name: str
    """As in the metrics, which are `NAME_loss` and `NAME_accuracy`."""
    title: str
    """For readers, as in "masked tokens"."""
    per: str
    """The count that the sum is divided by, a key of `Batch.totals`: "masked", "samples" or "tokens"."""
    weight: float = 1.0
    """Factor of the term in the loss."""
    counted: bool = True
    """Whether right predictions are counted, which gives an accuracy."""

    @property
    def sums(self) -> tuple[str, ...]:
        """Names of what a micro-batch adds up for this term."""
        return (f"{self.name}_loss", f"{self.name}_correct") if self.counted else (f"{self.name}_loss",)


BEFORE_TERMS = (Term("mlm", "masked tokens", "masked"), Term("nsp", "next sentence", "samples"))
"""The terms of runs whose events do not name them: all of them trained BERT."""


def read_terms(values: Iterable[Mapping[str, Any]]) -> tuple[Term, ...]:
    """The terms as an event or a checkpoint holds them.

    Raises:
        TypeError: a key is missing or unknown.
    """
    return tuple(Term(**value) for value in values)
