"""A run directory is read while it grows, is rewritten, truncated, damaged or incomplete."""

import pytest

from pipeline.runlog.reader import Tail, numbered, read_heartbeat, read_recipe, read_run, read_runs
from tests.made_runs import event, make_run, training, write_lines


def steps(tail):
    return [line["step"] for line in tail.lines]


def test_tail_reads_what_is_new(tmp_path):
    """Only complete lines are read; an incomplete one is read once it is complete."""
    path = tmp_path / "metrics.jsonl"
    tail = Tail(path)
    assert not tail.poll() and tail.lines == []
    write_lines(path, [training(1)])
    assert tail.poll() and not tail.poll()
    with path.open("a") as file:
        file.write('{"kind": "train", "st')
        file.flush()
        assert not tail.poll()
        file.write('ep": 2, "time": 5}\n')
    assert tail.poll()
    assert steps(tail) == [1, 2] and tail.damaged == 0


@pytest.mark.parametrize("trained_again", [0, 1, 30])
def test_tail_sees_that_a_resumed_run_rewrote_its_file(tmp_path, trained_again):
    """A rewritten file is read anew, even if it is as long as before, or longer, at the next look."""
    path = tmp_path / "metrics.jsonl"
    tail = Tail(path)
    write_lines(path, [training(step) for step in range(1, 11)])
    tail.poll()
    kept = [training(step) for step in range(1, 10)]
    again = [training(step) | {"time": 2e9} for step in range(10, 10 + trained_again)]
    write_lines(path, kept + again)
    assert tail.poll()
    assert steps(tail) == list(range(1, 10 + trained_again))
    path.unlink()
    assert tail.poll() and tail.lines == []


def test_damaged_lines_are_counted(tmp_path):
    """Lines that a kill truncated, without a step, with a time beyond the calendar, or without text are dropped and
    counted.
    """
    path = tmp_path / "events.jsonl"
    write_lines(path, [event("start", 0)])
    with path.open("ab") as file:
        file.write(b'{"kind": "check{"kind": "start", "step": 1, "time": 5}\n')
        file.write(b'{"kind": "start"}\n[1]\n\xff\xfe\x00\n{"kind": "start", "step": 1, "time": 1e300}\n')
    tail = Tail(path)
    tail.poll()
    assert len(tail.lines) == 1 and tail.damaged == 5


def test_tail_leaves_kinds_out(tmp_path):
    """A tail can skip kinds of lines, such as trust ratios, which a live view does not need."""
    write_lines(tmp_path / "m", [training(1), event("trust_ratio", 1, ratios={})])
    tail = Tail(tmp_path / "m", without={"trust_ratio"})
    tail.poll()
    assert [line["kind"] for line in tail.lines] == ["train"]


def test_load(tmp_path):
    """Series leave out values that are not finite, the recipe is flat, and names are as short as possible."""
    make_run(tmp_path / "a" / "run", 5, lines=[training(6) | {"loss": None}])
    make_run(tmp_path / "b" / "run", 5)
    one, other = read_runs([tmp_path / "a" / "run", tmp_path / "b" / "run"])
    assert (one.name, other.name) == ("a/run", "b/run")
    assert one.series("train", "loss")[0] == [1, 2, 3, 4, 5]
    assert one.recipe["schedule.total_steps"] == one.total_steps == 5
    assert one.events == [] and one.heartbeat is None


def test_events_of_earlier_versions_are_numbered():
    """Without numbers, an attempt begins with its start or with the broken checkpoints before it; existing numbers
    count.
    """
    kinds = ["start", "checkpoint", "start", "failed", "broken_checkpoint", "broken_checkpoint", "start", "finished"]
    events = [event(kind, 0) for kind in kinds] + [event("start", 0) | {"attempt": 7}, event("failed", 0)]
    assert [line["attempt"] for line in numbered(events)] == [1, 1, 2, 2, 3, 3, 3, 3, 7, 7]
    assert numbered([event("failed", 0) | {"attempt": "x"}])[0]["attempt"] == 1


def test_what_cannot_be_read_is_named(tmp_path):
    """Errors for unreadable files name the file and a remedy."""
    run = make_run(tmp_path / "run", 1)
    with pytest.raises(ValueError, match="given twice"):
        read_runs([run, tmp_path / "run" / ".." / "run"])
    (run / "recipe.toml").write_text("a = ")
    damaged = read_run(run, "run")
    assert damaged.recipe == {} and damaged.damaged == 1, "a by-product that cannot be read stops nothing"
    (run / "metrics.jsonl").write_text("")
    with pytest.raises(ValueError, match="no training step yet"):
        read_run(run, "run")
    with pytest.raises(ValueError, match="no such file; give the run_dir"):
        read_run(tmp_path, "run")


def test_heartbeat_and_recipe_may_be_absent_or_half_written(tmp_path):
    """A missing or incomplete heartbeat or recipe counts as none."""
    assert read_heartbeat(tmp_path) is None and read_recipe(tmp_path) == {}
    (tmp_path / "heartbeat.json").write_text('{"time": 1')
    assert read_heartbeat(tmp_path) is None
