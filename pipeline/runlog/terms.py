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
    """For readers, before the words "loss" and "accuracy"."""
    per: str
    """The count that the sum is divided by, a key of `Batch.totals`: "masked", "samples" or "tokens"."""
    weight: float = 1.0
    """Factor of the term in the loss."""
    counted: bool = True
    """Whether right predictions are counted, which gives an accuracy."""
    classes: int = 0
    """How many classes it decides between, where they are few and equally frequent: what a guess achieves is known."""

    @property
    def sums(self) -> tuple[str, ...]:
        """Names of what a micro-batch adds up for this term."""
        return (f"{self.name}_loss", f"{self.name}_correct") if self.counted else (f"{self.name}_loss",)

    @property
    def order_gap(self) -> str:
        """Name of its order gap in the metrics of an evaluation; only terms per masked token have one."""
        return f"{self.name}_order_gap"


BEFORE_TERMS = (Term("mlm", "masked-token", "masked"), Term("nsp", "next-sentence", "samples", classes=2))
"""The terms of runs whose events do not name them: all of them trained BERT."""


def terms_of(events: Iterable[Mapping[str, Any]]) -> tuple[Term, ...]:
    """The terms of a run's loss, from the newest of its events that names them.

    Also those of a checkpoint, whose state holds them as an event does. Values that are no terms are left out: reports
    read whatever they can.
    """
    named = [event["terms"] for event in events if isinstance(event.get("terms"), list)]
    try:
        return tuple(Term(**value) for value in named[-1]) if named else BEFORE_TERMS
    except TypeError:
        return BEFORE_TERMS


def masked_term(terms: Iterable[Term]) -> Term | None:
    """The first term per masked token, which floors and order gap are about; None if there is none."""
    return next((term for term in terms if term.per == "masked"), None)
