"""Comparison of variants of a recipe by their held-out metrics, as medians over seeds.

    python -m benchmarks.learning demo "published" "positions: --model.initialization positions" --seeds 3 --out DIR

A variant is a name, a colon and options of `pipeline.pretrain`. Runs are stored in DIR/VARIANT-SEED; a repeated command
resumes them and trains only those that are missing. The last line of the table names the processor, on which the times
depend, unlike the metrics of a step.
"""

import argparse
import shlex
import statistics
from pathlib import Path

from benchmarks.measuring import processor
from benchmarks.runs import heldout, train, training

_COLUMNS = (
    *("variant", "held-out masked loss by step", "at the end", "over seeds"),
    *("accuracy", "order gap", "samples/s"),
)
HEAD = f"| {' | '.join(_COLUMNS)} |\n|{'---|' * len(_COLUMNS)}"
"""The lines of the table above its rows."""


def row(name: str, runs: list[Path]) -> str:
    """Returns one row of the table, of medians over the runs but for the range of losses at the end."""
    figures = [heldout(run) for run in runs]
    steps = sorted(set.intersection(*(set(each) for each in figures)))
    losses = [statistics.median(each[step]["mlm_loss"] for each in figures) for step in steps]
    last = [each[steps[-1]] for each in figures]
    accuracy = statistics.median(line["mlm_accuracy"] for line in last)
    gaps = [line["mlm_order_gap"] for line in last if "mlm_order_gap" in line]
    order_gap = f"{statistics.median(gaps):.2f}" if gaps else ""  # evaluation.order_gap_samples = 0 measures none
    ends = [line["mlm_loss"] for line in last]
    rate = statistics.median(line["sequences_per_second"] for run in runs for line in training(run))
    by_step = ", ".join(f"{step}: {loss:.2f}" for step, loss in zip(steps[:-1], losses, strict=False))
    at_end = f"{losses[-1]:.3f} | {min(ends):.3f} to {max(ends):.3f} | {accuracy:.3f} | {order_gap} | {rate:.0f}"
    return f"| {name} | {by_step} | {at_end} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", help="name or file of the recipe that all variants change")
    parser.add_argument("variants", nargs="+", help='"name: options" of pipeline.pretrain, or a name alone')
    parser.add_argument("--seeds", type=int, default=1, help="runs of each variant, with the seeds 1, 2, ...")
    parser.add_argument("--ranks", type=int, default=1, help="ranks of each run")
    parser.add_argument("--out", type=Path, required=True, help="directory of the runs")
    arguments = parser.parse_args()
    print(HEAD)
    for variant in arguments.variants:
        name, _, options = variant.partition(":")
        runs = [arguments.out / f"{name.replace(' ', '_')}-{seed}" for seed in range(1, arguments.seeds + 1)]
        for seed, run in enumerate(runs, start=1):
            train(arguments.recipe, shlex.split(options), run, seed, arguments.ranks)
        print(row(name, runs), flush=True)
    print(f"\n{arguments.recipe}, {arguments.seeds} seeds, {arguments.ranks} ranks, {processor()}")


if __name__ == "__main__":
    main()
