"""The floors of a run, which are the held-out losses of simple predictors on its samples, and their reader.

They are computed once, when a run starts (`pipeline.data.floors`), and recorded as an event of kind "floors".
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from pipeline.runlog.reader import is_number

KIND = "floors"
"""Kind of the event that records the floors."""


@dataclass(frozen=True)
class Floors:
    """Held-out losses of simple predictors, in nats per masked token; a model that has learnt more has a lower loss."""

    unigram: float
    """Loss of a predictor that uses the frequencies of words, and the input token at the masked position."""
    unigram_accuracy: float
    """Accuracy of the same predictor."""
    context: float
    """Loss of a predictor that also uses the other words of the sample, without their order."""


def floors_event(events: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The newest event of a run with floors; None if there is none.

    It also has "samples", the SHA-256 of the manifest of the samples, "heldout", the number of evaluated samples, and
    "corpus", a description of the corpus.
    """
    return next((event for event in reversed(list(events)) if event.get("kind") == KIND), None)


def floors_of(events: Iterable[Mapping[str, Any]]) -> Floors | None:
    """The floors of a run, from its newest event with floors; None if there is none or it is damaged."""
    event, names = floors_event(events), [field.name for field in fields(Floors)]
    if event is None or not all(is_number(event.get(name)) for name in names):
        return None
    return Floors(**{name: float(event[name]) for name in names})
