"""LAMB, AdamW and Muon at growing batch sizes on equal numbers of samples: held-out figures at each one's best rate.

    python -m benchmarks.large_batch --out DIR --recipe demo --num_samples 131072 --batches '[256,1024,8192]' \
        --rates '{"lamb": [4e-3, 8e-3], "adamw": [1e-3, 2e-3], "muon": [5e-3, 1e-2]}'

Each run reads `num_samples` samples in num_samples / batch steps of `pipeline.pretrain`, with the schedule of the
recipe. The table has a row per optimizer and batch size: the rate with the least held-out masked loss at the end, and
the losses at all rates. A least loss at the first or last rate means that the list should be longer. Runs are kept in
DIR/OPTIMIZER-BATCH-RATE: a repeated command continues them and trains only what is missing.
"""

import math
from pathlib import Path

from jsonargparse import auto_cli

from benchmarks.measuring import processor
from benchmarks.runs import heldout, train
from pipeline.runlog.reader import Line

RATES = {
    "lamb": [2e-3, 4e-3, 8e-3, 1.6e-2],
    "adamw": [5e-4, 1e-3, 2e-3, 4e-3],
    "muon": [2.5e-3, 5e-3, 1e-2, 2e-2],
}
ADAM_LR_FACTOR = {"lamb": 1.0, "adamw": 1.0, "muon": 0.4}
"""Factor of the rate for tensors with AdamW steps; see docs/muon.md."""


def num_steps(num_samples: int, batch: int) -> int:
    """Returns the steps in which batches read all samples once.

    Raises:
        ValueError: the samples are no multiple of the batch, so that the sizes would read different numbers of them.
    """
    if num_samples % batch:
        raise ValueError(
            f"--num_samples {num_samples}: must be a multiple of each batch size; {batch} does not divide it"
        )
    return num_samples // batch


def run_options(name: str, rate: float, batch: int, steps: int) -> list[str]:
    """Returns the options of `pipeline.pretrain` that distinguish a run."""
    fields = {
        "optimizer.name": name,
        "optimizer.lr": rate,
        "optimizer.adam_lr_factor": ADAM_LR_FACTOR[name],
        "batch.global_batch_size": batch,
        "schedule.minutes": 0,
        "schedule.total_steps": steps,
        "evaluation.every": steps,
        "checkpoint.every": steps,
    }
    return [text for field, value in fields.items() for text in (f"--{field}", str(value))]


def row(name: str, batch: int, steps: int, ends: dict[float, Line]) -> str:
    """Returns one row of the table.

    Args:
        name: the optimizer.
        batch: samples of a step.
        steps: steps of each run.
        ends: held-out figures of the last step by rate; a loss that is not a number is larger than all others.
    """
    losses = {rate: line["mlm_loss"] for rate, line in ends.items()}
    best = min(losses, key=lambda rate: losses[rate] if math.isfinite(losses[rate]) else math.inf)
    all_losses = ", ".join(f"{rate:g}: {loss:.3f}" for rate, loss in losses.items())
    accuracy = ends[best]["mlm_accuracy"]
    return f"| {name} | {batch:,} | {steps:,} | {best:g} | {losses[best]:.3f} | {accuracy:.3f} | {all_losses} |"


def main(
    out: Path,
    recipe: str = "demo",
    num_samples: int = 131_072,
    batches: list[int] = [256, 512, 1024, 2048, 4096, 8192],  # noqa: B006  jsonargparse reads it
    rates: dict[str, list[float]] = RATES,
    seed: int = 1,
    ranks: int = 1,
    options: list[str] = [],  # noqa: B006
) -> None:
    """Train and print a Markdown table.

    Args:
        out: directory of the runs.
        recipe: name or file of the recipe that all runs change.
        num_samples: samples that each run reads, a multiple of each batch size.
        batches: samples of a step.
        rates: peak learning rates by optimizer.
        seed: seed of all runs.
        ranks: processes of each run.
        options: further options of pipeline.pretrain for all runs.
    """
    steps = {batch: num_steps(num_samples, batch) for batch in batches}
    head = ("optimizer", "batch", "steps", "best rate", "held-out masked loss", "accuracy", "loss by rate")
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for batch in batches:
        for name, tried in rates.items():
            ends = {}
            for rate in tried:
                run = out / f"{name}-{batch}-{rate:g}"
                train(recipe, [*run_options(name, rate, batch, steps[batch]), *options], run, seed, ranks)
                ends[rate] = heldout(run)[steps[batch]]
            print(row(name, batch, steps[batch], ends), flush=True)
    print(f"\n{recipe}, {num_samples:,} samples, {ranks} ranks, {processor()}")


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
