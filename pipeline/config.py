"""Recipes: the configuration of a run, composed of its parts' dataclasses and read from TOML and the command line.

Precedence: command line > recipe file > defaults. Each number is set in one place; unknown and doubled keys are errors
that name them. A run saves its recipe as `recipe.toml`.
"""

import json
import tomllib
from contextlib import suppress
from dataclasses import asdict, dataclass, field, make_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser

from pipeline.checkpoints.config import CheckpointConfig
from pipeline.data.config import BatchConfig, Corruption, DataConfig, MaskingConfig
from pipeline.engine.config import EngineConfig
from pipeline.families import get_family
from pipeline.model.config import EncoderConfig
from pipeline.optim.config import OptimizerConfig
from pipeline.optim.schedule import ScheduleConfig
from pipeline.runlog.config import LoggingConfig
from pipeline.runtime.command import program
from pipeline.runtime.options import check_arguments, flatten, kinds_of, pairs
from pipeline.runtime.recipes import RECIPE_HELP, RecipeFile, find
from pipeline.training.config import EvaluationConfig


@dataclass(frozen=True)
class Recipe:
    """Configuration of a pre-training run. The family determines the types of `model` and `masking`."""

    run_dir: str
    """Directory of the run, with recipe, metrics and checkpoints. A run that exists there continues."""
    data: DataConfig
    """Samples and their loading."""
    model: EncoderConfig
    """Shape of the model."""
    family: str = "bert"
    """Model and objective: the name of a file in pipeline/families, which determines the fields of the sections model
    and masking."""
    seed: int = 12345
    """Seed of weights, sample order, masks and dropout."""
    init_from: str = ""
    """Checkpoint from which a new run starts, or a run whose newest checkpoint is used; empty: random weights."""
    init_moments: bool = True
    """With init_from, also load the optimizer's moments if the checkpoint has any; it must then have all that the
    optimizer keeps. Schedule and data start from the beginning in any case."""
    restart_from_scratch: bool = False
    """Train from the start if the run has lost its checkpoints or all are damaged, which is otherwise an error. A run
    with a sound checkpoint continues from it in any case."""
    masking: Corruption = field(default_factory=MaskingConfig)
    """Masking of tokens."""
    batch: BatchConfig = field(default_factory=BatchConfig)
    """Batch sizes."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Optimizer: LAMB, AdamW or Muon."""
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    """Learning-rate schedule."""
    engine: EngineConfig = field(default_factory=EngineConfig)
    """DeepSpeed engine."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """Held-out evaluation."""
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    """Checkpoints."""
    logging: LoggingConfig = field(default_factory=LoggingConfig)
    """Metrics."""
    name: str = ""
    """Name of the recipe, by which reports find its reference curve; empty: the name of the recipe's file."""

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed = {self.seed}: must be at least 0 and below 2**63")


def plain(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe as nested values that JSON can represent."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(recipe), default=str))
    return values


@cache
def defaults(family: str) -> dict[str, Any]:
    """Return the default of each field of a family's recipe by dotted name; fields without a default are absent.

    Raises:
        ValueError: the family does not exist.
    """
    values: dict[str, Any] = json.loads(json.dumps(parser(recipe_class(family)).get_defaults().as_dict(), default=str))
    return {name: value for name, value in flatten(values).items() if value is not None}


@cache
def recipe_class(family: str) -> type[Recipe]:
    """Return the recipe class of a family, with its types of the sections `[model]` and `[masking]`.

    Raises:
        ValueError: the family does not exist.
    """
    chosen = get_family(family)
    masking = ("masking", chosen.corruption, field(default_factory=chosen.corruption))
    return make_dataclass("Recipe", [("model", chosen.config), masking], bases=(Recipe,), frozen=True)


def family_of(arguments: list[str]) -> str:
    """Return the family that the command line or else its recipe names.

    Raises:
        ArgumentError: the command line names a family that does not exist.
        ValueError: the recipe names a family that does not exist; the message names the file.
    """
    given: dict[str, str] = {}
    with suppress(ArgumentError):  # reported by `check_arguments`, as below
        for name, value in pairs(arguments):
            given |= {name: value} if value is not None else {}
    family, place = given.get("family"), ""
    if family is None and "recipe" in given:
        with suppress(ValueError, OSError):  # reported by `check_arguments`
            path = find(given["recipe"])
            family, place = tomllib.loads(path.read_text(encoding="utf-8")).get("family"), f"{path}: "
    family = family if isinstance(family, str) else "bert"
    try:
        get_family(family)
    except ValueError as error:
        raise ValueError(f"{place}{error}") if place else ArgumentError(None, str(error)) from None
    return family


def parser(recipe: type[Recipe]) -> ArgumentParser:
    """Return the parser of `pipeline.pretrain`'s command line: `--recipe FILE` and one option per field."""
    # A class is hashable, which mypy judges by its instances.
    return _parser(recipe, program("pipeline.pretrain"))  # type: ignore[arg-type]


@cache
def _parser(recipe: type[Recipe], name: str) -> ArgumentParser:
    made = ArgumentParser(
        prog=name,
        parser_mode="toml",
        exit_on_error=False,
        description="Pre-train a model from a recipe. Options override the recipe's fields.",
    )
    made.add_argument("--recipe", action=RecipeFile, help=RECIPE_HELP)
    made.add_class_arguments(recipe)
    return made


def parse(arguments: list[str]) -> Recipe:
    """Return the recipe of a command line.

    Raises:
        jsonargparse.ArgumentError: the command line has an unknown option or an invalid value.
        ValueError: the recipe does not exist; or it has an unknown or doubled key, a value of the wrong type or out of
            range, or values that contradict each other.
    """
    recipe = recipe_class(family_of(arguments))
    given = check_arguments(arguments, kinds_of(recipe))
    made = parser(recipe)
    try:
        values = made.instantiate(made.parse_args(arguments))
        files = values.pop("recipe", None)
        parsed = recipe(**vars(values))
        return parsed if parsed.name or not files else replace(parsed, name=Path(str(files[-1])).stem)
    except ArgumentError as error:
        text = " ".join(str(error).split())
        _, is_missing, names = text.partition("the following arguments are required: ")
        if is_missing and "recipe" in given:
            raise ValueError(f"--recipe: the recipe lacks {names}; add them, or give them as options") from None
        raise ArgumentError(None, text) from None
    except ValueError as error:
        if str(error).partition(" = ")[0] in given:  # the command line set the value that is out of range
            raise ArgumentError(None, str(error)) from None
        raise


def to_toml(recipe: Recipe) -> str:
    """Return the whole recipe as TOML text, which `parse` can read."""
    made = parser(type(recipe))
    return str(made.dump(made.parse_object(asdict(recipe)), skip_unset=False))
