"""The floors of a run are read from its events."""

from dataclasses import asdict

import pytest

from pipeline.runlog.floors import Floors, floors_event, floors_of
from tests.made_runs import event, start

FLOORS = Floors(unigram=6.09, unigram_accuracy=0.21, context=5.42)


def test_the_newest_floors_count():
    """The newest floors count, other events are passed over, and further fields of the event are kept in it."""
    old, new = event("floors", 0, unigram=9.0, unigram_accuracy=0.0, context=9.0), event("floors", 4, **asdict(FLOORS))
    events = [start(0), old, start(4), new | {"samples": "abc"}, event("finished", 8)]
    assert floors_of(events) == FLOORS and floors_event(events)["samples"] == "abc"
    assert floors_of([start(0)]) is None and floors_event([]) is None


@pytest.mark.parametrize("damage", [{"context": None}, {"unigram": "6"}, {"unigram_accuracy": float("nan")}])
def test_damaged_floors_are_none(damage):
    """Damaged floors count as missing."""
    assert floors_of([event("floors", 0, **asdict(FLOORS) | damage)]) is None
