"""The floors of a run: the held-out losses that simple predictors reach on its samples, and their reader.

They are computed once, when a run starts (`pipeline.data.floors`), and written as an event of kind "floors".
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from pipeline.runlog.reader import is_number

KIND = "floors"
"""Kind of the event."""


@dataclass(frozen=True)
class Floors:
    """Losses, in nats per masked token, that a model must reach to know certain things about its samples."""

    unigram: float
    """Loss of a predictor that knows the frequencies of words, and the token that stands at the masked position."""
    unigram_accuracy: float
    """Its accuracy."""
    context: float
    """Loss of a predictor that also knows the sample's other words, without their order."""


def floors_event(events: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The newest of a run's events that holds floors: beside them "samples", the SHA-256 of the samples' manifest,
    "heldout", the number of evaluated samples, and "corpus", a description; None if there is none.
    """
    return next((event for event in reversed(list(events)) if event.get("kind") == KIND), None)


def floors_of(events: Iterable[Mapping[str, Any]]) -> Floors | None:
    """The floors of a run, from the newest of its events that holds them; None if there is none or it is damaged."""
    event, names = floors_event(events), [field.name for field in fields(Floors)]
    if event is None or not all(is_number(event.get(name)) for name in names):
        return None
    return Floors(**{name: float(event[name]) for name in names})
