"""A sweep: fine-tunings that differ in learning rate and seed, one after the other or each as a job of its own.

OUT/[TASK/]lr-0.0001-seed-1/    a run, as `pipeline.jobs.finetuning.run` writes it
OUT/[TASK/]model/               a copy of the best run's model
OUT/sweep.json, sweep.md        the results, when all runs have ended
"""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.jobs.finetuning import run
from pipeline.jobs.finetuning.cells import Cell, Sweep
from pipeline.jobs.finetuning.recipe import FinetuningRecipe
from pipeline.jobs.finetuning.sweep_table import Outcome, best_of, to_json, to_markdown
from pipeline.runtime.signals import StopSignals
from preprocessing.files import read_json, write_json, write_text

DIVERGED = "diverged.json"
"""File in the directory of a run whose gradients became NaN or infinite; the sweep does not repeat such a run."""


def run_sweep(sweep: Sweep, signals: StopSignals) -> str:
    """Do the chosen runs that have not ended, and write the results when all runs of the sweep have.

    Returns:
        The table, or how many runs have not ended.

    Raises:
        ValueError, OSError, InterruptedRunError: as `pipeline.jobs.finetuning.run.finetune`.
    """
    for cell in sweep.cells:
        if has_ended(cell.recipe):
            run.open_run(cell.recipe)  # an error if it had another recipe
    for cell in sweep.chosen:
        if not has_ended(cell.recipe):
            print(f"run {cell.number} of {len(sweep.cells)}: {cell.recipe.run}")
            run_cell(cell.recipe, signals)
    waiting = sum(not has_ended(cell.recipe) for cell in sweep.cells)
    if waiting:
        return f"{sweep.out}: {waiting} of {len(sweep.cells)} runs have not ended; the last one writes the table"
    return conclude(sweep)


def has_ended(recipe: FinetuningRecipe) -> bool:
    """Return whether a run has finished or diverged."""
    return any((recipe.run / name).is_file() for name in (run.RESULTS, DIVERGED))


def run_cell(recipe: FinetuningRecipe, signals: StopSignals) -> None:
    """Do one run; if it diverges, record that."""
    try:
        run.finetune(recipe, signals)
    except FloatingPointError as error:
        print(f"{recipe.run}: diverged: {error}")
        write_json(recipe.run / DIVERGED, {"error": str(error)})


def outcome_of(cell: Cell) -> Outcome:
    """Return the end of a run."""
    recipe = cell.recipe
    name, rate, seed = recipe.task, recipe.optimizer.lr, recipe.seed
    if (recipe.run / DIVERGED).is_file():
        return Outcome(name, rate, seed, str(recipe.run))
    found = read_json(recipe.run / run.RESULTS)
    return Outcome(name, rate, seed, str(recipe.run), found["metric"], found["results"])


def conclude(sweep: Sweep) -> str:
    """Write the results and copy the best models; returns the table."""
    outcomes = [outcome_of(cell) for cell in sweep.cells]
    tables = to_markdown(outcomes, sweep.is_glue)
    with one_at_a_time(sweep.out):
        keep_best(sweep, outcomes)
        write_json(sweep.out / "sweep.json", to_json(outcomes))
        write_text(sweep.out / "sweep.md", tables)
    return tables


@contextmanager
def one_at_a_time(out: Path) -> Iterator[None]:
    """Wait for other commands that conclude the sweep: the last two jobs of an array may end at the same moment, and
    then both write the same.
    """
    with (out / ".sweep.tmp").open("w") as file:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def keep_best(sweep: Sweep, outcomes: list[Outcome]) -> None:
    """Copy the model of the best run of each task, and remove those of the others if the recipe says so."""
    best = {Path(outcome.directory) for outcome in best_of(outcomes).values()}
    for cell in sweep.cells:
        if cell.recipe.run in best:
            replace_directory(cell.recipe.run / run.MODEL, cell.directory / run.MODEL)
        elif sweep.config.remove_others:
            for name in (run.MODEL, "checkpoints"):
                shutil.rmtree(cell.recipe.run / name, ignore_errors=True)


def replace_directory(source: Path, target: Path) -> None:
    """Copy a directory to another place, where a former copy is replaced."""
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(source, temporary)
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)
