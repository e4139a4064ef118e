"""Runs of `pipeline.pretrain` in processes of their own, and their held-out figures."""

import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.runlog.reader import METRICS, Line, read_lines

PRETRAIN = ("--module", "pipeline.pretrain")


def train(recipe: str, options: list[str], run: Path, seed: int, ranks: int, module: Sequence[str] = PRETRAIN) -> None:
    """Runs or resumes one training; what it prints is appended to a log beside the run.

    Args:
        recipe: name or file of the recipe.
        options: options of `pipeline.pretrain`.
        run: directory of the run.
        seed: the run's seed.
        ranks: processes on this machine.
        module: what the launcher runs, before the options.

    Raises:
        SystemExit: the run failed.
    """
    run_options = ["--recipe", recipe, "--run_dir", str(run), "--seed", str(seed)]
    launcher = [sys.executable, "-m", "deepspeed.launcher.runner", "--quiet", "--num_gpus", str(ranks)]
    port = ["--master_port", str(free_port())]
    log = run.parent / f"{run.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as output:
        command = [*launcher, *port, *module, *run_options, *options]
        status = subprocess.run(command, stdout=output, stderr=output, check=False).returncode
    if status:
        raise SystemExit(f"{run}: ended with status {status}; see {log}")


def free_port() -> int:
    """Returns a port that no process uses now, so that several benchmarks can train at the same time."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
    return port


def heldout(run: Path) -> dict[int, Line]:
    """Returns the held-out figures of a run by step."""
    return {line["step"]: line for line in read_lines(run / METRICS)[0] if line["kind"] == "heldout"}


def training(run: Path) -> list[Line]:
    """Returns the lines of a run's training steps, in order."""
    return [line for line in read_lines(run / METRICS)[0] if line["kind"] == "train"]
