"""Events are kept over restarts and kills, and the heartbeat is whole at any moment, whatever the clock does."""

import json
import os

import pytest

from pipeline.runlog import events
from pipeline.runlog.events import Events


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_restart_appends_after_the_last_whole_line(tmp_path):
    """A restart removes an incomplete last line and keeps all others."""
    first = Events(tmp_path, 10, step=3)
    first.write("start", world_size=2)
    first.close()
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('{"kind": "check')
    second = Events(tmp_path, 10, step=4)
    second.write("checkpoint", step=2, seconds=1.5)
    second.close()
    found = [{key: value for key, value in line.items() if key != "time"} for line in read(tmp_path / "events.jsonl")]
    assert found == [
        {"kind": "start", "step": 3, "attempt": 1, "world_size": 2},
        {"kind": "checkpoint", "step": 2, "attempt": 2, "seconds": 1.5},
    ]


def test_the_heartbeat_comes_now_and_then_and_with_each_state(tmp_path, monkeypatch):
    """Beats of the same state are some seconds apart by the monotonic clock, and a new state is written at once."""
    now = [100.0]
    monkeypatch.setattr(events.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(events.time, "time", lambda: 5000.0 - now[0])  # set back all the time
    made = Events(tmp_path, 10, step=1)
    seen = []
    for seconds, step, state in ((0, 1, "training"), (1, 2, "training"), (1, 3, "saving"), (6, 4, "saving")):
        now[0] += seconds
        made.step = step
        made.beat(state)
        seen.append(json.loads((tmp_path / "heartbeat.json").read_text()))
    assert [(beat["step"], beat["state"]) for beat in seen] == [
        (1, "training"),
        (1, "training"),
        (3, "saving"),
        (4, "saving"),
    ]
    assert seen[0]["pid"] == os.getpid() and seen[0]["total_steps"] == 10
    assert sorted(os.listdir(tmp_path)) == ["events.jsonl", "heartbeat.json"]


def test_an_attempt_has_the_number_after_the_last_one(tmp_path):
    """Events and heartbeat have the number of the attempt, which continues the count of a run that an earlier version
    began.
    """
    lines = [{"kind": "start", "time": 1.0, "step": step} for step in (0, 4)]
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for number in (3, 4):
        made = Events(tmp_path, 10, step=4)
        made.write("start")
        made.beat("training")
        made.close()
        assert made.attempt == read(tmp_path / "events.jsonl")[-1]["attempt"] == number
        assert json.loads((tmp_path / "heartbeat.json").read_text())["attempt"] == number


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"step": 1}'])
def test_an_attempt_knows_how_far_the_one_before_came(tmp_path, content):
    """An attempt reads from the heartbeat how far the one before came; an unreadable heartbeat tells nothing."""
    made = Events(tmp_path, 10, step=7)
    made.beat("training")
    assert Events(tmp_path, 10, step=4).reached["reached_step"] == 7
    if content is None:
        (tmp_path / "heartbeat.json").unlink()
    else:
        (tmp_path / "heartbeat.json").write_text(content)
    assert Events(tmp_path, 10, step=4).reached == {}


@pytest.mark.parametrize("job", ["77", None])
def test_the_job_is_slurms(monkeypatch, job):
    """The job number is Slurm's, and outside of Slurm there is none."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    if job:
        monkeypatch.setenv("SLURM_JOB_ID", job)
    assert events.job_id() == job
