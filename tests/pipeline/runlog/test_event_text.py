"""The text of an event is one line, whichever fields are missing."""

import pytest

from pipeline.runlog.event_text import event_text
from tests.made_runs import event, saved, start


@pytest.mark.parametrize(
    "kind", ["budget", "checkpoint", "skipped_step", "broken_checkpoint", "interrupted", "failed", "floors", "other"]
)
def test_events_are_described_whatever_they_lack(kind):
    """Every event has one line, even with nothing but kind, time and step, and without control characters."""
    assert "7" in event_text(event(kind, 7)) or kind in ("broken_checkpoint", "budget", "floors")
    assert "\n" not in event_text(event(kind, 7, error="a\nb", path="a\nb\x1b[2J", signal="\x1b", file="\n"))


def test_the_fields_of_starts_and_checkpoints():
    """A start has device, precision, stage, host and job; a checkpoint has size, time and stall."""
    assert "8 x GPU, bf16, ZeRO-2, on node1, job 77" in event_text(start(0))
    assert "3.0 GiB, written in 12.5 s, training waited 0.75 s" in event_text(saved(5))


def test_the_floors():
    """The text of floors has both losses in nats."""
    assert event_text(event("floors", 0, unigram=5.674, context=5.111)) == (
        "floors of the held-out loss: unigram 5.67, context 5.11 nats"
    )
