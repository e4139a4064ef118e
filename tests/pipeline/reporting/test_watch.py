"""A live view follows the files of a run, which change between two looks."""

import json

import pytest

from pipeline.reporting.watch import Watch, rate
from tests.made_runs import BEGIN, event, make_run, start, training, write_lines


class Clock:
    """The wall clock and the monotonic clock of a host."""

    def __init__(self, now=BEGIN):
        self.now, self.uptime = now, 0.0

    def watch(self, run):
        return Watch(run, lambda: self.now, lambda: self.uptime)

    def pass_(self, seconds):
        self.now += seconds
        self.uptime += seconds


def beat(run, step, at, state="training"):
    text = json.dumps({"time": BEGIN + at, "step": step, "total_steps": 100, "state": state, "host": "node1", "job": 5})
    (run / "heartbeat.json").write_text(text)


def test_run_at_work(tmp_path):
    """Step and state are those of the heartbeat, the rate is that of the metrics, and the remaining time follows from
    both.
    """
    run, clock = make_run(tmp_path / "run", 40, events=[start(0)]), Clock(BEGIN + 405)
    beat(run, 41, at=403)
    view = clock.watch(run).look()
    assert (view.state, view.step, view.total, view.host, view.job) == ("training", 41, 100, "node1", "5")
    assert view.silent_for == 2 and not view.silent and not view.ended
    assert view.rate == pytest.approx(0.1) and view.seconds_left == pytest.approx(590)
    assert view.train["step"] == 40 and view.heldout["step"] == 40 and len(view.losses) == 40


def test_silence(tmp_path):
    """Silence counts from the time at which this host saw the heartbeat change, since the hosts' clocks may differ by
    hours.
    """
    run, clock = make_run(tmp_path / "run", 5), Clock(BEGIN - 7200)
    watch = clock.watch(run)
    assert watch.look().silent_for is None
    beat(run, 1, at=0)
    assert watch.look().silent_for == 0
    clock.pass_(59)
    assert not watch.look().silent
    clock.pass_(2)
    assert watch.look().silent
    beat(run, 2, at=61)
    assert watch.look().silent_for == 0
    clock.pass_(100)
    beat(run, 2, at=62, state="failed")
    assert watch.look().ended and not watch.look().silent
    clock.now += 10**6
    ahead = clock.watch(run)
    assert ahead.look().silent_for > 10**5  # seen for the first time, as it seems long after
    beat(run, 3, at=63)
    assert ahead.look().silent_for == 0


def test_resumed_run(tmp_path):
    """Rewritten metrics replace the earlier ones, and the rate is that of the present attempt."""
    run, clock = make_run(tmp_path / "run", 40, events=[start(0)]), Clock()
    watch = clock.watch(run)
    assert watch.look().step == 40
    fast = [training(step) | {"time": BEGIN + 9000 + step} for step in range(21, 25)]
    write_lines(run / "metrics.jsonl", [training(step) for step in range(1, 21)] + fast)
    write_lines(run / "events.jsonl", [start(0), start(20, 9000)])
    view = watch.look()
    assert view.step == 24 and len(view.losses) == 24
    assert view.rate == pytest.approx(1.0)


def test_without_heartbeat(tmp_path):
    """Without heartbeat, the events or the last step tell how a run ended, and an empty directory is a
    run that starts.
    """
    old = Clock().watch(make_run(tmp_path / "old", 5)).look()
    assert old.state == "finished" and old.silent_for is None
    events = [start(0), event("failed", 3, error="x")]
    assert Clock().watch(make_run(tmp_path / "failed", 5, events=events)).look().state == "failed"
    (tmp_path / "new").mkdir()
    new = Clock().watch(tmp_path / "new").look()
    assert (new.state, new.step, new.total, new.seconds_left) == ("starting", 0, None, None)
    with pytest.raises(ValueError, match="no such directory; give the run_dir"):
        Watch(tmp_path / "nowhere")


def test_rate_of_a_clock_that_goes_back():
    """If the clock was set back, the rate is None instead of negative."""
    assert rate([training(1), training(2) | {"time": 0.0}]) is None
    assert rate([training(1)]) is None
