"""Cost of a checkpoint: the time that training waits, and the slowdown of steps during the writing.

    python -m benchmarks.checkpoints --samples demo/data/samples128 --recipe pipeline/recipes/bert_mini.toml

Trains some steps with a checkpoint after every few of them, through the entry point, and reads the run's events and
metrics. For comparison it prints the time until a checkpoint is published, which writing in the foreground would take.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from jsonargparse import auto_cli

from pipeline.runlog.reader import EVENTS, METRICS, read_lines

ROOT = Path(__file__).resolve().parent.parent


def train(run: Path, recipe: Path, samples: Path, ranks: int, steps: int, every: int, options: list[str]) -> None:
    """Train a run that does nothing but checkpoints between steps."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks)]
    chosen = {
        "run_dir": run, "data.samples": samples, "schedule.total_steps": steps, "checkpoint.every": every,
        "evaluation.every": 0, "logging.every": 1, "logging.tensorboard": False,
    }  # fmt: skip
    arguments = [
        "--recipe",
        str(recipe),
        *(text for name, value in chosen.items() for text in (f"--{name}", str(value))),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": str(max(1, len(os.sched_getaffinity(0)) // ranks))}
    command = [*launcher, "-m", "pipeline.pretrain", *arguments, *options]
    subprocess.run(command, check=True, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)


def figures(run: Path, every: int) -> dict[str, float]:
    """Medians over the run: seconds of a step, of one beside the writing, of the wait, of the whole checkpoint."""
    metrics = [line for line in read_lines(run / METRICS)[0] if line["kind"] == "train"]
    seconds = {line["step"]: 1 / line["sequences_per_second"] for line in metrics}  # per sequence
    batch = metrics[0]["consumed_samples"]
    beside = [batch * value for step, value in seconds.items() if step > every and step % every == 1]
    free = [batch * value for step, value in seconds.items() if step > every and step % every not in (0, 1)]
    events = [line for line in read_lines(run / EVENTS)[0] if line["kind"] == "checkpoint"]
    events.pop()  # without the last one, for which the run waits at its end
    step, stall = statistics.median(free), statistics.median(event["stall_seconds"] for event in events)
    return {
        "step_seconds": step,
        "step_beside_writing_seconds": statistics.median(beside),
        "stall_seconds": stall,
        "stall_per_step": stall / step,
        "longest_stall_per_step": max(event["stall_seconds"] for event in events) / step,
        "published_after_seconds": statistics.median(event["seconds"] for event in events),
        "checkpoint_mib": events[0]["bytes"] / 2**20,
        "checkpoints": len(events),
    }


def main(
    samples: Path,
    recipe: Path = Path("pipeline/recipes/bert_mini.toml"),
    ranks: int = 1,
    steps: int = 24,
    every: int = 4,
    options: list[str] = [],  # noqa: B006  jsonargparse reads it
) -> None:
    """Train and print JSON.

    Args:
        samples: what is trained on.
        recipe: of the model.
        ranks: processes on this machine.
        steps: optimizer steps.
        every: steps between checkpoints; the figures leave the first ones out.
        options: further options of pipeline.pretrain.
    """
    with tempfile.TemporaryDirectory(dir=".") as directory:
        run = Path(directory).resolve() / "run"
        train(run, recipe.resolve(), samples.resolve(), ranks, steps, every, options)
        print(json.dumps(figures(run, every), indent=2))


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
