"""Entry points have documented exit statuses and print a single error message."""

import os
import subprocess
import sys

import pytest
from attempts import enter
from ranks import ended, start_ranks

from pipeline.runtime.command import program


def enter_with(arguments):
    """Run the entry point of training, with other arguments on each rank."""
    enter(arguments[int(os.environ["RANK"])])


GOOD = ["--recipe", "pipeline/recipes/demo.toml"]
CASES = {
    "on all ranks": ([["--nonsense", "1"]] * 2, 2, "nonsense"),
    "on rank 1 alone": ([GOOD, ["--recipe", "/nowhere.toml"]], 1, "recipe /nowhere.toml: no such file"),
    "on rank 0 alone": ([["--recipe", "/nowhere.toml"], GOOD], 1, "recipe /nowhere.toml: no such file"),
    "a monitor": ([[*GOOD, "--engine.deepspeed", "wandb.json"]] * 2, 1, "engine.deepspeed = wandb.json"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_told_once_whichever_rank_meets_it(tmp_path, name):
    """Whichever rank meets a mistake, all ranks end with its status, after the reason has been printed once."""
    arguments, status, message = CASES[name]
    processes = start_ranks(enter_with, 2, arguments, folder=tmp_path)
    assert ended(processes, 120) == [status, status]
    said = "".join((tmp_path / f"{rank}.log").read_text() for rank in (0, 1))
    assert said.count("error: ") == said.count("\n") == 1 and message in said, said


@pytest.mark.parametrize(
    ("called", "name"),
    [("/usr/bin/bert-plan", "bert-plan"), ("/src/pipeline/plan.py", "python -m pipeline.plan")],
)
def test_a_command_is_named_as_it_was_called(monkeypatch, called, name):
    """Help texts use the name of the installed command, or that of the module."""
    monkeypatch.setattr("sys.argv", [called])
    assert program("pipeline.plan") == name


COMMAND = """
import sys
from pathlib import Path
from pipeline.runtime import command
def run(arguments):
    sys.stdin.readline()
    print("line", flush=True)
    Path(arguments[0]).write_text("done")
command.main(run)
"""


def test_a_command_whose_reader_has_gone_finishes(tmp_path):
    """A command of which only the first lines are read, as by `head`, does all of its work and succeeds."""
    done = tmp_path / "done"
    arguments = [sys.executable, "-c", COMMAND, str(done)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None and running.stdin is not None
        running.stdout.close()
        running.stdin.close()
        assert running.wait(60) == 0 and done.read_text() == "done"
