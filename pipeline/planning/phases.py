"""Planning of the phases of a training, and printing of the plan."""

import json
from dataclasses import asdict
from math import gcd
from pathlib import Path
from typing import Any

from pipeline.config import parse
from pipeline.planning.choice import Phase, choose, nearest_gpus, remedy, timing
from pipeline.planning.cluster import LINK_EFFICIENCY
from pipeline.planning.options import Options
from pipeline.planning.picture import write_picture
from pipeline.planning.samples import read_samples
from pipeline.planning.text import Row, advice, memory_table, phase_summary, scaling_table, total_table

NUMBERS_OF_GPUS = (1, 8, 64, 512, 4096, 10_000)


def print_plan(recipes: list[Path], options: Options) -> None:
    """Plan a training, print the plan, and write the files of the options `out` and `json`.

    Args:
        recipes: one recipe for each phase.
        options: assumptions of the plan.

    Raises:
        ValueError: a recipe cannot be planned, or a phase does not fit.
    """
    phases = [read_phase(path, number, len(recipes), options) for number, path in enumerate(recipes)]
    numbers = numbers_of_gpus(phases, options.gpus)
    table = [scaling(phase, numbers, options) for phase in phases]
    device = options.device
    print(
        f"{options.gpu}: {device.memory_gib:g} GiB, peak {device.peak_flops / 1e12:g} TFLOP/s; MFU {options.mfu:g} "
        f"assumed, {options.precision}, {options.headroom:.0%} of the memory kept free"
    )
    for phase, rows in zip(phases, table, strict=True):
        print("\n" + "\n\n".join([phase_summary(phase), memory_table(phase, options), advice(phase, rows, options)]))
        print("\n" + scaling_table(rows, options))
    if len(phases) > 1:
        print("\n" + total_table(table, options))
    if options.json:
        options.json.write_text(json.dumps(figures(phases, table, options), indent=2) + "\n", encoding="utf-8")
        print(options.json)
    if options.out:
        write_picture(phases, table, options, options.out)
        print(options.out)


def read_phase(path: Path, number: int, count: int, options: Options) -> Phase:
    """Read the recipe of phase `number`, from 0, of `count` phases.

    Raises:
        ValueError: the recipe is invalid, or an option has lengths for another number of recipes.
    """
    recipe = parse(["--recipe", str(path)])
    given: dict[str, Any] = {}
    for name in ("seq_length", "mean_tokens"):
        values = getattr(options, name)
        values = values if isinstance(values, list) or values is None else [values]
        if values and len(values) not in (1, count):
            raise ValueError(f"--{name} {values}: give one number, or one for each of the {count} recipes")
        given[name] = values[number % len(values)] if values else None
    samples = read_samples(recipe, vocab_size=options.vocab_size, **given)
    recipe.masking.warning(samples.seq_length)  # raises the error that a run would end with
    return Phase(path.stem, recipe, samples, options.precision)


def numbers_of_gpus(phases: list[Phase], chosen: int) -> list[int]:
    """Return the numbers of GPUs to plan for: `chosen`, and the next below each of NUMBERS_OF_GPUS that divide all
    batches.

    Raises:
        ValueError: `chosen` does not divide the batch of a phase.
    """
    for phase in phases:
        if phase.smallest_batch % chosen:
            name = "global_batch_size_start" if phase.smallest_batch < phase.global_batch else "global_batch_size"
            raise ValueError(
                f"{phase.name}: batch.{name} = {phase.smallest_batch} does not divide over {chosen} GPUs; "
                f"--gpus {nearest_gpus(phase.smallest_batch, chosen)} does"
            )
    common = gcd(*(phase.smallest_batch for phase in phases))
    return sorted({chosen, *(nearest_gpus(common, number) for number in NUMBERS_OF_GPUS)})


def scaling(phase: Phase, numbers: list[int], options: Options) -> list[Row]:
    """Plan a phase for each number of GPUs.

    Raises:
        ValueError: nothing fits on `options.gpus`.
    """
    rows: list[Row] = []
    for gpus in numbers:
        choice = choose(phase, gpus, options.usable, sorted(options.stages))
        if gpus == options.gpus and choice is None:
            raise ValueError(remedy(phase, options))
        rows.append((gpus, choice, timing(phase, choice, options.cluster(gpus), options.mfu) if choice else None))
    return rows


def figures(phases: list[Phase], table: list[list[Row]], options: Options) -> dict[str, Any]:
    """Return the whole plan as JSON values, in bytes, seconds and FLOP."""
    assumed = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(options).items()}
    return {
        "options": assumed | {"link_efficiency": LINK_EFFICIENCY, "device": asdict(options.device)},
        "phases": [
            {
                "name": phase.name,
                "parameters": phase.parameters.total,
                "auxiliary_parameters": phase.parameters.auxiliary,
                "flops": phase.flops,
                "samples": asdict(phase.samples),
                "gpus": {
                    gpus: {"choice": asdict(choice) | {"memory": choice.memory.figures}, "time": asdict(time)}
                    for gpus, choice, time in rows
                    if choice and time
                },
            }
            for phase, rows in zip(phases, table, strict=True)
        ],
    }
