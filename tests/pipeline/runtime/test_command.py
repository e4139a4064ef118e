"""Entry points have documented exit statuses and print a single error message."""

import os

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
