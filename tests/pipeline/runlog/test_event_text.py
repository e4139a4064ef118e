"""Events are one line each, whatever they lack."""

import pytest

from pipeline.runlog.event_text import event_text
from tests.made_runs import event, saved, start


@pytest.mark.parametrize(
    "kind", ["budget", "checkpoint", "skipped_step", "broken_checkpoint", "interrupted", "failed", "other"]
)
def test_events_are_described_whatever_they_lack(kind):
    """One line each, also with nothing but kind, time and step, and without what would steer a terminal."""
    assert "7" in event_text(event(kind, 7)) or kind in ("broken_checkpoint", "budget")
    assert "\n" not in event_text(event(kind, 7, error="a\nb", path="a\nb\x1b[2J", signal="\x1b", file="\n"))


def test_the_fields_of_starts_and_checkpoints():
    """Device, precision, stage, host and job; size, time and stall."""
    assert "8 x GPU, bf16, ZeRO-2, on node1, job 77" in event_text(start(0))
    assert "3.0 GiB, written in 12.5 s, training waited 0.75 s" in event_text(saved(5))
