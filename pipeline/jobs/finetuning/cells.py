"""The runs of a sweep: each learning rate with each seed, of one task or of all tasks of GLUE."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.jobs.finetuning.recipe import FinetuningRecipe, SweepConfig, parse
from pipeline.runlog.reader import RECIPE
from pipeline.tasks.glue import GLUE, tasks_below

ALL_TASKS = "glue"
"""Name that stands for all tasks of GLUE on the command line."""


@dataclass(frozen=True)
class Cell:
    """A run of a sweep."""

    number: int
    """Counted from 1."""
    directory: Path
    """Directory of all runs of its task; the model of the best one is in its directory `model`."""
    recipe: FinetuningRecipe


@dataclass(frozen=True)
class Sweep:
    """All runs of a sweep, and how many of them the command does."""

    out: Path
    """Directory of the table."""
    config: SweepConfig
    cells: tuple[Cell, ...]
    is_glue: bool
    """Whether the tasks are those of GLUE that are there, so that their average is stated."""

    @property
    def chosen(self) -> tuple[Cell, ...]:
        """The runs that this command does."""
        return self.cells[self.config.only - 1 : self.config.only] if self.config.only else self.cells


def parse_runs(arguments: list[str]) -> FinetuningRecipe | Sweep:
    """Return what a command line requests: the recipe of one run, or a sweep.

    Raises:
        jsonargparse.ArgumentError, ValueError: as `pipeline.jobs.finetuning.recipe.parse`; also if the sweep has no
            run of the number `sweep.only`, or its directory is that of a run.
    """
    if arguments[:1] == [ALL_TASKS]:
        data = Path(parse([next(iter(GLUE)), *arguments[1:]]).data)
        recipes = [parse([name, *arguments[1:]]) for name in tasks_below(data)]
        out = Path(recipes[0].out or f"runs/{ALL_TASKS}")
        return sweep_of(out, [(out / recipe.task, recipe) for recipe in recipes], is_glue=True)
    recipe = parse(arguments)
    if recipe.sweep.is_on:
        return sweep_of(recipe.run, [(recipe.run, recipe)], is_glue=False)
    if recipe.sweep != SweepConfig():
        name = "only" if recipe.sweep.only else "remove_others"
        raise ValueError(
            f"sweep.{name} = {getattr(recipe.sweep, name)}: has no effect on one run; give sweep.rates or sweep.seeds"
        )
    return recipe


def sweep_of(out: Path, tasks: list[tuple[Path, FinetuningRecipe]], is_glue: bool) -> Sweep:
    """Return the sweep of one or more tasks.

    Args:
        out: directory of the table.
        tasks: directory of the runs of each task, and the recipe that they vary.
        is_glue: as in `Sweep`.

    Raises:
        ValueError: there is no run of the number `sweep.only`, or `out` is the directory of a run.
    """
    config = tasks[0][1].sweep
    varied = [(directory, one) for directory, recipe in tasks for one in variations(directory, recipe)]
    if config.only > len(varied):
        raise ValueError(f"sweep.only = {config.only}: must be at most {len(varied)}, the number of runs of the sweep")
    if (out / RECIPE).is_file():
        raise ValueError(f"out = {out}: is the directory of a run; give the sweep another one")
    return Sweep(out, config, tuple(Cell(number, *each) for number, each in enumerate(varied, 1)), is_glue)


def variations(directory: Path, recipe: FinetuningRecipe) -> Iterator[FinetuningRecipe]:
    """Yield the recipe of each run of a task, whose directory has the name of its learning rate and seed."""
    for rate in recipe.sweep.rates or [recipe.optimizer.lr]:
        for seed in range(recipe.seed, recipe.seed + recipe.sweep.seeds):
            yield replace(
                recipe,
                out=str(directory / f"lr-{rate}-seed-{seed}"),
                seed=seed,
                optimizer=replace(recipe.optimizer, lr=rate),
                sweep=SweepConfig(),
            )
