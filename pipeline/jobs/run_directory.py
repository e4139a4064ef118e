"""The directory of a run, which belongs to one recipe."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.checkpoints.record import complete, read_state
from pipeline.config import Recipe, defaults, family_of, plain, recipe_class, to_toml
from pipeline.jobs.identity import differences
from pipeline.runlog.reader import RECIPE
from pipeline.runtime.options import RENAMED, check_values, kinds_of, read_toml
from preprocessing.files import is_temporary, write_text


def open_run(recipe: Recipe) -> Path:
    """Create the run's directory, or check that it belongs to the recipe; only the main rank calls it.

    Raises:
        ValueError: the directory holds something else, or a run with another recipe; the message names the fields.
    """
    run = Path(recipe.run_dir)
    before = recorded_recipe(run)
    if before is not None:
        changed = differences(before, plain(recipe), defaults(recipe.family))
        if changed:
            raise ValueError(
                f"{run} is a run with another recipe ({'; '.join(changed)}); choose another run_dir, or start from its "
                "checkpoint with init_from"
            )
    elif run.exists() and (not run.is_dir() or not all(map(is_temporary, run.iterdir()))):
        raise ValueError(
            f"run_dir = {run} exists and is not a run (no recipe.toml); choose another directory or remove it"
        )
    else:
        run.mkdir(parents=True, exist_ok=True)
    record(recipe)
    return run


def record(recipe: Recipe) -> None:
    """Write recipe.toml; `restart_from_scratch` applies to one start and is not recorded for later ones."""
    write_text(Path(recipe.run_dir) / RECIPE, to_toml(replace(recipe, restart_from_scratch=False)))


def recorded_recipe(run: Path) -> dict[str, Any] | None:
    """Return the recipe of a run from its recipe.toml or else its newest checkpoint; None if it has neither.

    Raises:
        ValueError: recipe.toml cannot be read.
    """
    saved, found = run / RECIPE, complete(run) if run.is_dir() else []
    if not saved.is_file():
        return read_state(found[0]).get("recipe") if found else None
    try:
        values = read_toml(saved)
        kinds = kinds_of(recipe_class(family_of(["--recipe", str(saved)])))
        check_values(saved, values, kinds | dict.fromkeys(RENAMED, str))
    except ValueError as error:
        remedy = "remove it: the checkpoints hold the recipe, too" if found else "choose another run_dir"
        raise ValueError(f"{error}; restore the file that the run wrote, or {remedy}") from None
    return values
