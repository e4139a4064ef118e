"""Attempts, their endings and their lost steps follow from the numbered events, whatever the clock does."""

import pytest

from pipeline.runlog.attempts import history
from pipeline.runlog.reader import read_run
from tests.made_runs import BEGIN, event, make_run, saved, start


@pytest.fixture
def past(tmp_path):
    """A function that returns the history of a run from the events of each of its attempts."""

    def of(*attempts, now=BEGIN + 1000, **run):
        events = [event | {"attempt": number} for number, own in enumerate(attempts, start=1) for event in own]
        return history(read_run(make_run(tmp_path / "run", events=events, **run), "run"), now)

    return of


def told(past):
    return [(a.ending, a.from_step, a.to_step, a.lost_steps, a.at_least) for a in past.attempts]


def test_undisturbed_run(past):
    """An undisturbed run has one attempt that lost nothing, though its last checkpoint is older than its end."""
    one = past([start(0), saved(20), event("finished", 40)])
    assert told(one) == [("finished", 0, 40, 0, False)]
    assert one.attempts[0].seconds == 400 and one.lost_steps == 0


def test_every_way_to_end(past):
    """Attempts that ended by a signal, by a kill, by a failure and by finishing each have their ending
    and lost steps.
    """
    one = past(
        [
            start(0, 0),
            saved(10),
            event("interrupted", 15, signal="SIGUSR1"),
            saved(15, 151),
            event("interrupted", 15, 152, signal="SIGTERM"),
        ],
        [start(15, 200), saved(20, 250)],  # killed after its checkpoint
        [start(20, 300), event("failed", 33, 430, error="the loss became nan")],
        [start(20, 500), saved(40, 700), event("finished", 40, 701)],
    )
    assert told(one) == [
        ("interrupted", 0, 15, 0, False),
        ("killed", 15, 20, 0, True),
        ("failed", 20, 33, 13, False),
        ("finished", 20, 40, 0, False),
    ]
    assert one.lost_steps == 13
    assert [len(a.of("checkpoint")) for a in one.attempts] == [2, 1, 0, 1]


def test_start_tells_how_far_a_killed_attempt_came(past):
    """The steps lost by a kill follow from the heartbeat that the next attempt found."""
    one = past([start(0, 0), saved(10)], [start(10, 300, reached_step=17, reached_time=BEGIN + 170), saved(20, 500)])
    assert told(one)[0] == ("killed", 0, 17, 7, False)
    assert one.attempts[0].seconds == 170


def test_broken_checkpoint_belongs_to_the_start_that_passes_it_over(past):
    """A broken checkpoint belongs to the start that passes it over, and the attempt before has lost all steps since the
    sound one.
    """
    broken = event("broken_checkpoint", 20, 300, path="step-20", reason="checksum")
    one = past(
        [start(0, 0), saved(10), saved(20), event("interrupted", 25, signal="SIGTERM")], [broken, start(10, 310)]
    )
    assert told(one)[0] == ("interrupted", 0, 25, 15, False)
    assert one.attempts[1].of("broken_checkpoint") and one.attempts[1].begin == BEGIN + 300
    assert one.attempts[0].kept_step == 10


@pytest.mark.parametrize("killed", [False, True])
def test_attempt_that_fails_before_it_starts(past, killed):
    """An attempt that fails before it starts has lost nothing; the next one that starts resumes the
    attempt before it.
    """
    ends = [] if killed else [event("failed", 12)]
    one = past([start(0, 0), saved(10), *ends], [event("failed", 0, 200)], [start(10, 300), event("finished", 40)])
    assert told(one)[1:] == [("failed", 0, 0, 0, False), ("finished", 10, 40, 0, False)]
    assert told(one)[0] == (("killed", 0, 10, 0, True) if killed else ("failed", 0, 12, 2, False))
    assert [a.started for a in one.attempts] == [True, False, True]


def test_no_checkpoint_is_sound(past):
    """If all checkpoints are broken, the start fails, and the metrics of the killed attempt before it still count."""
    broken = [event("broken_checkpoint", step, 300, path="x", reason="checksum") for step in (20, 10)]
    one = past([start(0, 0), saved(10), saved(20)], [*broken, event("failed", 0, 301)], steps=33)
    assert told(one) == [("killed", 0, 33, 13, True), ("failed", 0, 0, 0, False)]
    assert len(one.attempts[1].of("broken_checkpoint")) == 2


@pytest.mark.parametrize(("age", "expected"), [(5, ("running", 0)), (500, ("silent", 13))])
def test_heartbeat_tells_whether_it_is_at_work(past, age, expected):
    """An attempt with a recent heartbeat is running; a silent one has lost the steps since its checkpoint."""
    beat = {"time": BEGIN + 330, "step": 33, "state": "training"}
    last = past([start(0), saved(20)], now=BEGIN + 330 + age, heartbeat=beat, steps=31).attempts[-1]
    assert (last.ending, last.lost_steps) == expected
    assert last.to_step == 33 and last.seconds == 330


def test_the_heartbeat_of_a_later_attempt(past):
    """A heartbeat of a new attempt without an event shows that the previous attempt was killed."""
    beat = {"time": BEGIN + 400, "step": 0, "state": "starting", "attempt": 2}
    assert told(past([start(0), saved(20)], heartbeat=beat, steps=31)) == [("killed", 0, 31, 11, True)]


def test_no_heartbeat_and_no_end(past):
    """Without heartbeat and end, an attempt has lost at least the steps of the metrics since its checkpoint."""
    assert told(past([start(0), saved(20)], steps=31)) == [("silent", 0, 31, 11, True)]


def test_clock_that_goes_back(past):
    """If a clock was set back, no attempt has a negative duration, later times are shifted, and the order is that of
    the file.
    """
    one = past([start(0, 5000), saved(10, 5100)], [start(10, 100), saved(20, 200), event("finished", 40, 150)])
    assert [a.seconds for a in one.attempts] == [100, 100]
    assert one.set_back == 5000 + 50
    times = [e["at"] for a in one.attempts for e in a.events]
    assert times == sorted(times)


def test_no_events(past):
    """A run of an older version, without events, has no attempts."""
    assert past().attempts == []
