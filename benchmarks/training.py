"""One full training step against Hugging Face's, side by side in one run: `python -m benchmarks.training`.

Forward, backward, clipping and optimizer, at dropout 0.1. Each side is a process of its own (`benchmarks/step_sides.py`
says what each does) and they take turns, so that whatever else the machine does meets all of them. Prints a Markdown
table of medians, spreads and peaks of memory; `--samples DIR` takes the samples of a directory at their real lengths in
place of random tokens, padded by Hugging Face to `--length`. `--recipe NAME --sides '[stock,this]'` compares any
family.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Literal

from jsonargparse import auto_cli

from benchmarks.step_sides import KEEP_MEMORY, Job

ROOT = Path(__file__).resolve().parent.parent


class Side:
    """A side's processes: one, or one per rank."""

    def __init__(self, job: Job, cores: int) -> None:
        """Start the processes of a job, whose ranks divide the cores among themselves."""
        self.processes: list[subprocess.Popen[str]] = []
        self.answers: list[IO[str]] = []
        name, ranks = job.side, job.ranks
        job = replace(job, threads=cores // ranks)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        for rank in range(ranks):
            environment = (
                os.environ | (KEEP_MEMORY if name == "tuned" else {}) | {"OMP_NUM_THREADS": str(cores // ranks)}
            )
            if ranks > 1:
                numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks}
                rendezvous = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
                environment |= {key: str(value) for key, value in numbers.items()} | rendezvous
            answers, descriptor = os.pipe()
            command = [sys.executable, "-m", "benchmarks.step_sides", json.dumps(asdict(job)), str(descriptor)]
            self.processes.append(
                subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env=environment,
                    pass_fds=[descriptor],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    text=True,
                )
            )
            os.close(descriptor)
            self.answers.append(os.fdopen(answers))

    def steps(self, count: int) -> dict[str, float]:
        """Do `count` steps; return seconds and processor time per step, loss, peak of memory over all processes."""
        for process in self.processes:
            print(count, file=process.stdin, flush=True)
        answers = [json.loads(answer.readline()) for answer in self.answers]
        return {
            "seconds": max(answer["seconds"] for answer in answers) / count,
            "cpu_seconds": sum(answer["cpu_seconds"] for answer in answers) / count,
            "loss": answers[0]["loss"],
            "peak_gib": sum(answer["peak_bytes"] for answer in answers) / 2**30,
        }

    def close(self) -> None:
        """End the processes of the side."""
        for process in self.processes:
            process.communicate()  # closes its standard input


def main(
    model: Literal["mini", "base", "large"] = "base",
    family: Literal["bert", "albert"] = "bert",
    recipe: str = "",
    sequences: int = 8,
    length: int = 128,
    masked: int = 20,
    samples: Path | None = None,
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    deepspeed: str = "ds_configs/zero2_{precision}.json",
    sides: list[str] = ["stock", "stock_lamb", "tuned", "this"],  # noqa: B006  jsonargparse reads it
    ranks: list[int] = [1],  # noqa: B006
    rounds: int = 5,
    steps: int = 1,
    out: Path | None = None,
) -> None:
    """Time the sides, and print a table.

    Args:
        model: shape of BERT.
        family: family that has this shape.
        recipe: recipe of any family that gives family, shape and masks instead; its sides are this, stock and
            stock_lamb.
        sequences: sequences of a step, over all ranks.
        length: tokens of each; with `samples`, what stock Hugging Face pads to.
        masked: masked tokens of each.
        samples: a samples directory that gives the sequences instead.
        precision: of the training; auto is bf16 where the processor has it.
        deepspeed: JSON for the side `this`.
        sides: what is timed, names in step_sides.py.
        ranks: numbers of ranks for the side `this`; each has its share of the cores.
        rounds: turns of each side, after one that is not counted.
        steps: steps per turn.
        out: JSON file for the figures.

    Raises:
        ValueError: a side is for BERT and ALBERT alone.
    """
    if recipe and (others := set(sides) - {"this", "stock", "stock_lamb"}):
        raise ValueError(f"--sides {min(others)}: needs --model and --family; with --recipe, take this and stock")
    job = Job(
        side="this",
        sequences=sequences,
        model=model,
        family=family,
        recipe=recipe,
        length=length,
        masked=masked,
        samples=str(samples) if samples else "",
        precision=precision,
        deepspeed=deepspeed,
    )
    cores = len(os.sched_getaffinity(0))
    running = {name: Side(replace(job, side=name), cores) for name in sides if name != "this"}
    if "this" in sides:
        running |= {f"this, {n} rank{'s' * (n > 1)}": Side(replace(job, ranks=n), cores) for n in ranks}
    figures = in_turns(running, rounds, steps)
    print(table(figures, sequences))
    if out:
        out.write_text(json.dumps({"job": asdict(job), "figures": figures}, indent=2) + "\n")


def in_turns(sides: dict[str, Side], rounds: int, steps: int) -> dict[str, list[dict[str, float]]]:
    """Return what each side measured in each round after the first, and end the sides."""
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, side in sides.items():
            answer = side.steps(steps)
            if number:
                figures[name].append(answer)
    for side in sides.values():
        side.close()
    return figures


def table(figures: dict[str, list[dict[str, float]]], sequences: int) -> str:
    """Median and spread per side, sequences per second, and how much slower than ours it is."""
    medians = {name: statistics.median(turn["seconds"] for turn in turns) for name, turns in figures.items()}
    ours = next((seconds for name, seconds in medians.items() if name.startswith("this")), None)
    lines = ["| | s per step | sequences/s | peak GiB | times ours |", "|---|---|---|---|---|"]
    for name, turns in figures.items():
        seconds = [turn["seconds"] for turn in turns]
        ratio = f"{medians[name] / ours:.2f}" if ours else ""
        lines.append(
            f"| {name} | {medians[name]:.3f} ({min(seconds):.3f}-{max(seconds):.3f}) | {sequences / medians[name]:.2f} "
            f"| {max(turn['peak_gib'] for turn in turns):.2f} | {ratio} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
