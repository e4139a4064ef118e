"""Comparison of a run that is killed, preempted and moved to other numbers of ranks with an undisturbed one.

    python -m benchmarks.soak --samples demo/data/samples128 --disturbances 30 --out docs/soak.png

The demo's model is trained twice. The second time a random rank gets SIGKILL, SIGTERM or SIGUSR1 again and again, at
random moments, and each new start has a random number of ranks. Every attempt must end by itself, leave no process
behind and no port taken; the run must end with the curve of the undisturbed one. With one number of ranks
(`--ranks '[2]'`) the curve must be the same bit for bit.
"""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import psutil
from jsonargparse import auto_cli

from pipeline.runlog.reader import EVENTS, METRICS, read_lines

ROOT = Path(__file__).resolve().parent.parent
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1)
MOST_SECONDS_TO_END = 120
INTERRUPTED, KILLED, FAULT = 75, -signal.SIGKILL, 70


@dataclass(frozen=True)
class Attempt:
    """One start of the disturbed run."""

    ranks: int
    disturbance: str
    """Name of the signal that ended it; empty for the last attempt, which came to its end."""
    step: int
    """Last step that it logged."""
    seconds_to_end: float
    """Seconds from the signal until no rank was left."""
    codes: list[int]
    """Exit codes of the ranks."""


class Run:
    """A run's directory and how it is started."""

    def __init__(self, directory: Path, samples: Path, steps: int) -> None:
        self.directory = directory
        self.options = {
            "recipe": ROOT / "pipeline" / "recipes" / "demo.toml",
            "run_dir": directory,
            "data.samples": samples,
            "batch.micro_batch_size": 16,
            "schedule.total_steps": steps,
            "engine.precision": "fp32",
            "evaluation.every": steps // 4,
            "checkpoint.every": 10,
            "logging.every": 1,
            "logging.tensorboard": False,
        }

    def start(self, ranks: int) -> list[subprocess.Popen[str]]:
        """Start all ranks, as a launcher does."""
        arguments = [text for name, value in self.options.items() for text in (f"--{name}", str(value))]
        log = self.directory.with_name(f"{self.directory.name}.log").open("a")
        shared = {
            "WORLD_SIZE": str(ranks),
            "LOCAL_WORLD_SIZE": str(ranks),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(free_port()),
            "OMP_NUM_THREADS": "1",
            "DS_ACCELERATOR": "cpu",
        }
        return [
            subprocess.Popen(
                [sys.executable, "-m", "pipeline.pretrain", *arguments],
                env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                cwd=ROOT,
                stdout=log,
                stderr=log,
                text=True,
            )
            for rank in range(ranks)
        ]

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines of metrics so far, without trust ratios."""
        return [line for line in read_lines(self.directory / METRICS)[0] if "loss" in line]

    def step(self) -> int:
        """The last step that it logged."""
        return max((line["step"] for line in self.lines()), default=0)


def free_port() -> int:
    """A TCP port that is not in use."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ended(ranks: list[subprocess.Popen[str]], timeout: float) -> list[int]:
    """Exit codes; fails if a rank, or a process that it began, is left."""
    children = [child for rank in ranks if psutil.pid_exists(rank.pid) for child in family(rank.pid)]
    end = time.monotonic() + timeout
    codes = [rank.wait(max(0.1, end - time.monotonic())) for rank in ranks]
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive, f"processes are left behind: {alive}"
    return codes


def family(pid: int) -> list[psutil.Process]:
    """Return all processes that a process has started, directly or not."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def disturbed(run: Run, ranks: int, chance: random.Random, most_steps: int) -> Attempt:
    """An attempt that receives a signal after a random number of steps, unless it finishes before."""
    processes, begin = run.start(ranks), run.step()
    target, number = begin + chance.randint(1, most_steps), chance.choice(SIGNALS)
    while all(process.poll() is None for process in processes) and run.step() < target:
        time.sleep(0.02)
    time.sleep(chance.random() * 0.2)
    victim = chance.choice(processes)
    hit = victim.poll() is None
    if hit:
        victim.send_signal(number)
    sent = time.monotonic()
    codes = ended(processes, MOST_SECONDS_TO_END)
    name = signal.Signals(number).name if hit and any(codes) else ""
    return Attempt(ranks, name, run.step(), time.monotonic() - sent, codes)


def check(attempt: Attempt) -> None:
    """Check that the exit codes are those that the documentation states."""
    allowed = {
        "": {0},
        "SIGKILL": {KILLED, FAULT},
        "SIGTERM": {INTERRUPTED},
        "SIGUSR1": {INTERRUPTED},
    }[attempt.disturbance]
    assert set(attempt.codes) <= allowed, attempt


def differences(whole: list[dict[str, Any]], other: list[dict[str, Any]]) -> list[float]:
    """Relative difference of each logged loss; fails if the runs did not log the same lines."""
    places = [[(line["kind"], line["step"]) for line in lines] for lines in (whole, other)]
    assert places[0] == places[1], f"lines are missing or doubled: {set(places[0]) ^ set(places[1])}"
    return [abs(a["loss"] - b["loss"]) / a["loss"] for a, b in zip(whole, other, strict=True)]


def plot(whole: Run, run: Run, attempts: list[Attempt], path: Path) -> None:
    """Plot the two curves, their difference, and the signals."""
    figure, axes = plt.subplots(3, 1, figsize=(10, 9), sharex=True, height_ratios=[3, 2, 2], layout="constrained")
    train = [[line for line in one.lines() if line["kind"] == "train"] for one in (whole, run)]
    steps = [line["step"] for line in train[0]]
    for lines, label, width in zip(train, ("left alone", f"disturbed {len(attempts) - 1} times"), (4, 1), strict=True):
        axes[0].plot(steps, [line["loss"] for line in lines], linewidth=width, label=label)
    axes[0].set_title("training loss")
    axes[0].legend()
    apart = differences(*train)
    axes[1].plot(steps, apart, color="C3", linewidth=1)
    axes[1].set_title(f"relative difference (largest {max(apart):.1e})")
    begin = 0
    for attempt in attempts:
        axes[2].plot([begin, attempt.step], [attempt.ranks] * 2, color="C0", linewidth=3, solid_capstyle="butt")
        begin = attempt.step
    for name, marker in (("SIGKILL", "x"), ("SIGTERM", "v"), ("SIGUSR1", "^")):
        hit = [(attempt.step, attempt.ranks) for attempt in attempts if attempt.disturbance == name]
        if hit:
            axes[2].plot(*zip(*hit, strict=True), marker, color="black", label=name, linestyle="none")
    axes[2].set_title("ranks, and how each attempt ended")
    axes[2].set_yticks(sorted({attempt.ranks for attempt in attempts}))
    axes[2].margins(y=0.3)
    axes[2].legend(ncols=3, loc="upper right")
    axes[2].set_xlabel("optimizer step")
    for axis in axes:
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def main(
    samples: Path = Path("demo/data/samples128"),
    work: Path = Path("runs/soak"),
    out: Path = Path("soak.png"),
    disturbances: int = 30,
    steps: int = 800,
    ranks: tuple[int, ...] = (1, 2, 4),
    seed: int = 1,
) -> None:
    """Train twice, once disturbed; print JSON and draw.

    Args:
        samples: what is trained on.
        work: directory of the two runs; must not exist.
        out: the picture.
        disturbances: least number of attempts that are ended from outside.
        steps: optimizer steps of the run.
        ranks: numbers of ranks to choose from.
        seed: of the choices.
    """
    work.mkdir(parents=True)
    chance = random.Random(seed)
    whole, run = (Run(work.resolve() / name, samples.resolve(), steps) for name in ("whole", "disturbed"))
    codes = ended(whole.start(sorted(ranks)[len(ranks) // 2]), 3600)
    assert not any(codes), f"the run that was left alone ended with {codes}"
    attempts: list[Attempt] = []
    while not attempts or attempts[-1].disturbance:
        left = disturbances - len(attempts)
        most = max(1, 2 * (steps - run.step()) // (left + 1)) if left > 0 else steps
        attempts.append(disturbed(run, chance.choice(ranks), chance, most))
        check(attempts[-1])
        print(attempts[-1], file=sys.stderr, flush=True)
    apart = differences(whole.lines(), run.lines())
    names = [attempt.disturbance for attempt in attempts if attempt.disturbance]
    longest = {
        name: round(max(a.seconds_to_end for a in attempts if a.disturbance == name), 1) for name in sorted(set(names))
    }
    events, _ = read_lines(run.directory / EVENTS)
    result = {
        "disturbances": {name: names.count(name) for name in sorted(set(names))},
        "starts_at_ranks": {str(n): sum(a.ranks == n for a in attempts) for n in ranks},
        "longest_seconds_to_end": longest,
        "checkpoints": sum(event["kind"] == "checkpoint" for event in events),
        "largest_relative_difference": max(apart),
        "final_heldout_losses": [one.lines()[-1]["loss"] for one in (whole, run)],
    }
    print(json.dumps(result, indent=2))
    plot(whole, run, attempts, out)
    if len(ranks) == 1 and max(apart) > 1e-12:
        raise SystemExit("error: at one number of ranks the curve must be the same")


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
