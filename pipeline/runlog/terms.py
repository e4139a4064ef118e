"""The terms of a loss, which determine the names in metrics, reports and model cards."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Term:
    """One term of a loss: a sum over the global batch, divided by one of the batch's counts."""

    name: str
    """Identifier; the metrics of the term are `NAME_loss` and `NAME_accuracy`."""
    title: str
    """Human-readable name, which precedes the words "loss" and "accuracy"."""
    per: str
    """The count by which the sum is divided, a key of `Batch.totals`: "masked", "samples" or "tokens"."""
    weight: float = 1.0
    """Factor of the term in the loss."""
    counted: bool = True
    """Whether correct predictions are counted, which gives an accuracy."""
    unit: str = "nats"
    """Unit of the loss, for axes and texts."""
    classes: int = 0
    """Number of classes if they are few and equally frequent, so that the loss of a random guess is known; else 0."""

    @property
    def sums(self) -> tuple[str, ...]:
        """Names of the sums that a micro-batch contributes for this term."""
        return (f"{self.name}_loss", f"{self.name}_correct") if self.counted else (f"{self.name}_loss",)

    @property
    def order_gap(self) -> str:
        """Name of the order gap of the term in the metrics of an evaluation, which terms per masked token with an
        accuracy have.
        """
        return f"{self.name}_order_gap"


BEFORE_TERMS = (Term("mlm", "masked-token", "masked"), Term("nsp", "next-sentence", "samples", classes=2))
"""The terms of runs whose events do not record them; all such runs trained BERT."""


def terms_of(events: Iterable[Mapping[str, Any]]) -> tuple[Term, ...]:
    """The terms of the loss of a run, from its newest event that records them, or else `BEFORE_TERMS`.

    The state of a checkpoint records them as an event does, and can be passed too. If the recorded values are not
    terms, `BEFORE_TERMS` is returned, because a report must not fail on a damaged file.
    """
    named = [event["terms"] for event in events if isinstance(event.get("terms"), list)]
    try:
        return tuple(Term(**value) for value in named[-1]) if named else BEFORE_TERMS
    except TypeError:
        return BEFORE_TERMS


def metrics_of(events: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The names of the task's metrics in the evaluations of a fine-tuning, from its newest event that records them.

    It is empty for a pre-training, whose metrics take their names from the terms, and for recorded values that are not
    names.
    """
    named = [event["metrics"] for event in events if isinstance(event.get("metrics"), list)]
    return tuple(name for name in named[-1] if isinstance(name, str)) if named else ()


def masked_term(terms: Iterable[Term]) -> Term | None:
    """The first term per masked token, to which floors and order gap refer; None if there is none."""
    return next((term for term in terms if term.per == "masked"), None)
