"""A run is displayed until its end, on a terminal and without one."""

import io
import json
import time

import pytest
from rich.console import Console

from pipeline.reporting import follow as module
from pipeline.reporting.follow import figures, follow, line, panel, sparkline
from pipeline.reporting.watch import Watch
from tests.made_runs import BEGIN, event, make_run, saved, start, training


def console(width=100, terminal=False):
    return Console(file=io.StringIO(), width=width, force_terminal=terminal, _environ={})


def beat(run, step, state, at=None):
    (run / "heartbeat.json").write_text(
        json.dumps({"time": at or time.time(), "step": step, "total_steps": 40, "state": state, "host": "node1"})
    )


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("state", ["finished", "interrupted", "failed"])
def test_ends_when_the_run_ends(tmp_path, monkeypatch, state, terminal):
    """`follow` ends when the run ends, and prints the last figures and events, even those between its
    last two looks.
    """
    run, out = make_run(tmp_path / "run", events=[start(0)]), console(terminal=terminal)
    beat(run, 30, "training")
    waits = []

    def end(seconds):
        waits.append(seconds)
        assert len(waits) == 1, "the run has ended"
        with (run / "events.jsonl").open("a") as file:
            file.write(json.dumps(saved(40)) + "\n")
        beat(run, 40, state)

    monkeypatch.setattr(module.time, "sleep", end)
    follow(run, out, 0.01)
    assert waits == [0.01]
    text = out.file.getvalue()
    assert "started at step 0" in text and "checkpoint of step 40" in text
    assert state in text.splitlines()[-1] or terminal
    if not terminal:
        assert text.splitlines()[-1].startswith(f"{state}  step 40/40  loss 6.0000")
        assert len(text.splitlines()) == 4  # two events, one line at the beginning, one at the end


@pytest.mark.parametrize("terminal", [False, True])
def test_the_verdict_is_shown(tmp_path, terminal):
    """The verdict is printed once in lines, and is in the panel of a terminal."""
    floors = event("floors", 0, unigram=8.5, unigram_accuracy=0.2, context=7.5)
    run, out = make_run(tmp_path / "run", events=[start(0), floors]), console(width=200, terminal=terminal)
    beat(run, 40, "finished")
    follow(run, out, 0.01)
    text = out.file.getvalue()
    assert text.count("The model has used word order since step 20") == 1 or terminal
    assert "The model has used word order since step 20" in text
    assert "floors of the held-out loss: unigram 8.50, context 7.50 nats" in text


def test_ctrl_c_is_no_error(tmp_path, monkeypatch):
    """After Ctrl-C the run continues, and the view says so."""
    run, out = make_run(tmp_path / "run"), console(width=500)  # wider than the path
    beat(run, 3, "training")

    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(module.time, "sleep", interrupt)
    follow(run, out)
    assert "no longer followed; the run continues" in out.file.getvalue()


@pytest.mark.parametrize("width", [30, 60, 120])
def test_panel_fits_its_terminal(tmp_path, width):
    """At any width, the panel has bar, figures, curve, the last events and the warning of a silent run, and no line is
    too long.
    """
    hostile = event("failed", 9, error="[bold]no markup[/bold] \x1b[2J " + "long " * 50)
    run, out = make_run(tmp_path / "run", events=[start(0), hostile, start(9), saved(20)]), console(width)
    beat(run, 33, "training", at=BEGIN)
    out.print(panel(Watch(run).look(), "run", width))
    text = out.file.getvalue()
    assert all(len(row) <= width for row in text.splitlines())
    assert "no heartbeat for" in text and "\x1b" not in text
    assert "learning" in text and "█" in text and "loss" in text
    if width == 120:
        assert "step 33 of 40  82.5%" in text and "[bold]no markup[/bold]" in text


def test_panel_of_a_run_without_anything(tmp_path):
    """A run that has just been made, without any file, has a panel."""
    out = console()
    out.print(panel(Watch(tmp_path).look(), "run", 100))
    assert "no heartbeat.json" in out.file.getvalue() and "starting" in out.file.getvalue()


def test_line_warns(tmp_path):
    """The line of a silent run has the warning in place of the remaining time."""
    run = make_run(tmp_path / "run")
    beat(run, 33, "training", at=time.time() - 600)
    assert line(Watch(run).look()).endswith("no heartbeat for 10 min")
    beat(run, 33, "training")
    assert line(Watch(run).look()).endswith("remaining 0:01:10")


def test_figures_and_sparkline(tmp_path):
    """A figure that is not finite is shown as such, and many values share a column of the curve."""
    assert ("loss", "not finite") in figures(training(1) | {"loss": None}, Watch(tmp_path).look())
    assert sparkline([8, 4, 1], 60) == "█▄▁"
    assert len(sparkline(list(range(1000)), 40)) == 40
    assert sparkline([3, 3], 10) == "▁▁" and sparkline([], 10) == ""
