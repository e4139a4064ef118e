"""Variants of the initialisation by position, compared by their held-out metrics as medians over seeds.

    python -m benchmarks.initialization --recipe demo --out DIR \
        --variants '{"chosen": {}, "scores of 12": {"SCORE": 12}, "one layer": {"offsets": [[-1,1,-2,2]]}}'

A variant names constants of `pipeline/model/initialization.py` with other values, or `offsets`: those of the first
heads of each layer. Runs are stored in DIR/VARIANT-SEED; a repeated command trains only those that are missing.
"""

import json
from pathlib import Path
from typing import Any

from jsonargparse import auto_cli

from benchmarks.learning import HEAD, row
from benchmarks.measuring import processor
from benchmarks.runs import train

CONSTANTS = frozenset({"LOWEST", "HIGHEST", "SCORE", "SHRINK", "LATER", "NEAREST", "offsets"})


def main(
    out: Path,
    variants: dict[str, dict[str, Any]],
    recipe: str = "demo",
    seeds: int = 3,
    options: list[str] = [],  # noqa: B006  jsonargparse reads it
) -> None:
    """Train and print a Markdown table.

    Args:
        out: directory of the runs.
        variants: constants by the name of the variant.
        recipe: name or file of the recipe that all runs change.
        seeds: runs of each variant, with the seeds 1, 2, ...
        options: further options of pipeline.pretrain for all runs.
    """
    unknown = sorted({name for constants in variants.values() for name in constants} - CONSTANTS)
    if unknown:
        raise SystemExit(f"--variants: {unknown[0]}: must be one of {', '.join(sorted(CONSTANTS))}")
    print(HEAD)
    for name, constants in variants.items():
        module = ["--module", "benchmarks.initialization_side", "--constants", json.dumps(constants)]
        runs = [out / f"{name.replace(' ', '_')}-{seed}" for seed in range(1, seeds + 1)]
        for seed, run in enumerate(runs, start=1):
            train(recipe, options, run, seed, 1, module)
        print(row(name, runs), flush=True)
    print(f"\n{recipe}, {seeds} seeds, {processor()}")


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
