"""Runs of `python -m pipeline.pretrain` on real ranks that tests disturb."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from ranks import ended, start_ranks
from recipes import tensors, write_recipe

from pipeline.runlog.reader import METRICS, read_lines

SECONDS_TO_END = 300.0
"""Longest that ranks may take to end once something is wrong; the machine may be busy."""


def enter(arguments: list[str]) -> None:
    """Run the entry point as a launcher starts it; it ends the process."""
    from pipeline.pretrain import pretrain
    from pipeline.runtime import command

    sys.argv = ["pretrain", *arguments]
    command.main(pretrain)


def attempts(jobs: list[list[str]]) -> list[tuple[str, str]]:
    """Return what `pretrain` raised on this rank for each list of arguments, as (exception's name, message)."""
    from pipeline.pretrain import pretrain
    from pipeline.runtime import distributed

    outcomes = []
    for arguments in jobs:
        try:
            pretrain(arguments)
            outcomes.append(("", "passed"))
        except Exception as error:
            outcomes.append((type(error).__name__, str(error)))
    distributed.shutdown()
    return outcomes


class Attempt:
    """One start of a run."""

    def __init__(
        self, run: Path, samples: Path, *options: str, ranks: int = 2, total_steps: int = 8, num_workers: int = 0,
        **environment: str,
    ) -> None:  # fmt: skip
        """Start `ranks` processes; `environment` has variables such as PIPELINE_FAULT."""
        often = ["--checkpoint.every", "2", "--logging.every", "3"]
        numbers = {"global_batch_size": 16, "total_steps": total_steps, "num_workers": num_workers}
        recipe = write_recipe(run.parent, samples, run.name, **numbers)
        self.run = run
        self._folder = run.with_name(f"{run.name}.output")
        self._folder.mkdir(exist_ok=True)
        arguments = ["--recipe", str(recipe), "--engine.precision", "fp32", *often, *options]
        self.processes = start_ranks(enter, ranks, arguments, folder=self._folder, **environment)

    def end(self, timeout: float = SECONDS_TO_END) -> list[int | None]:
        """Return the exit codes of the ranks: negative for signals, None for ranks killed here after
        `timeout` seconds.
        """
        return ended(self.processes, timeout)

    def signal(self, number: int, rank: int) -> None:
        """Send a signal to a rank."""
        pid = self.processes[rank].pid
        assert pid is not None, "it was started"
        os.kill(pid, number)

    def wait_until(self, condition: Callable[[], Any], timeout: float = SECONDS_TO_END) -> None:
        """Wait for a condition while the ranks are at work."""
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, f"it takes too long: {self.output()}"
            assert all(process.is_alive() for process in self.processes), self.output()
            time.sleep(0.01)

    def output(self) -> str:
        """Return what the ranks printed."""
        return "\n".join(path.read_text() for path in sorted(self._folder.glob("*.log")))

    def lines(self, name: str = METRICS, **wanted: Any) -> list[dict[str, Any]]:
        """Return the lines of a file of the run that have these values."""
        return [line for line in read_lines(self.run / name)[0] if wanted.items() <= line.items()]


def finished(*args: Any, **keywords: Any) -> Attempt:
    """Return an attempt that nothing disturbs, after its end."""
    attempt = Attempt(*args, **keywords)
    codes = attempt.end(600)
    assert codes == [0] * len(codes), attempt.output()
    return attempt


def losses(attempt: Attempt) -> list[tuple[str, int, float]]:
    """Return (kind, step, loss) of all lines of metrics."""
    return [(line["kind"], line["step"], line["loss"]) for line in attempt.lines() if "loss" in line]


def assert_same(one: Attempt, other: Attempt) -> None:
    """Assert that two runs ended at one step with the same weights and moments, bit for bit, and the same curves.

    Sums that went through a checkpoint were added up in another order, in float64, so losses are compared to rounding.
    """
    from pipeline.checkpoints.checkpoint import resolve, step_of

    step = step_of(resolve(one.run))
    assert step == step_of(resolve(other.run))
    first, second = tensors(one.run, step), tensors(other.run, step)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    for ours, theirs in zip(losses(one), losses(other), strict=True):
        assert ours[:2] == theirs[:2]
        assert abs(ours[2] - theirs[2]) < 1e-12 * theirs[2]
