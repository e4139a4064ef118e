"""Whole training steps under DeepSpeed against the same steps without it: `python -m benchmarks.engine_overhead`.

Each side is a process, or one per rank (`benchmarks/step_sides.py`), and they take turns. `plain` has one rank; the
engine has one rank with all cores, and several with their share of them. Prints a Markdown table of medians and of
ratios to `plain`, each the median of the ratios within the rounds, so that whatever else the machine does meets both.
Processor time is summed over the ranks.
"""

import json
import os
import statistics
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

from jsonargparse import auto_cli

from benchmarks.step_sides import Job
from benchmarks.training import Side

PLAIN = "plain, 1 rank"
Figures = dict[str, list[dict[str, float]]]


def main(
    model: Literal["mini", "base", "large"] = "mini",
    sequences: int = 8,
    length: int = 128,
    masked: int = 20,
    samples: Path | None = None,
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    stages: list[int] = [0, 1],  # noqa: B006  jsonargparse reads it
    ranks: list[int] = [1, 2],  # noqa: B006
    cores: int = 0,
    rounds: int = 7,
    steps: int = 3,
    out: Path | None = None,
) -> None:
    """Time the sides, and print a table.

    Args:
        model: shape of BERT.
        sequences: sequences of a step, over all ranks.
        length: tokens of each.
        masked: masked tokens of each.
        samples: a samples directory that gives the sequences instead.
        precision: of the training; auto is bf16 where the processor has it.
        stages: ZeRO stages, with the JSONs of ds_configs.
        ranks: numbers of ranks of each stage.
        cores: cores of a side, divided among its ranks; 0: all.
        rounds: turns of each side, after one that is not counted.
        steps: steps per turn.
        out: JSON file for the figures.
    """
    job = Job(
        side="this",
        sequences=sequences,
        model=model,
        length=length,
        masked=masked,
        samples=str(samples) if samples else "",
        precision=precision,
    )
    cores = cores or len(os.sched_getaffinity(0))
    running = {PLAIN: Side(replace(job, side="plain"), cores)}
    for stage in stages:
        for n in ranks:
            of_stage = replace(job, ranks=n, deepspeed=f"ds_configs/zero{stage}_{{precision}}.json")
            running[f"ZeRO-{stage}, {n} rank{'s' * (n > 1)}"] = Side(of_stage, max(n, cores))
    figures: Figures = {name: [] for name in running}
    for number in range(rounds + 1):
        for name, side in running.items():
            answer = side.steps(steps)
            if number:
                figures[name].append(answer)
    for side in running.values():
        side.close()
    print(table(figures))
    if out:
        out.write_text(json.dumps({"job": asdict(job), "cores": cores, "figures": figures}, indent=2) + "\n")


def table(figures: Figures) -> str:
    """Return the medians of each side and its ratios to `plain`, smallest and largest in brackets."""
    lines = [
        "| | s per step | processor time, s | times plain | times plain, processor time |",
        "|---|---|---|---|---|",
    ]
    for name, turns in figures.items():
        cells = [f"{statistics.median(turn[kind] for turn in turns):.3f}" for kind in ("seconds", "cpu_seconds")]
        for kind in ("seconds", "cpu_seconds"):
            ratios = [ours[kind] / plain[kind] for ours, plain in zip(turns, figures[PLAIN], strict=True)]
            cells.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
