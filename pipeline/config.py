"""A recipe: the parts' own dataclasses composed, read from TOML and overridden from the command line.

Precedence: command line > recipe file > defaults. Each number has one home; unknown and doubled keys are errors that
name them. What a run used is saved beside it as `recipe.toml`.
"""

import json
import tomllib
from contextlib import suppress
from dataclasses import asdict, dataclass, field, make_dataclass
from functools import cache
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser

from pipeline.checkpoints.config import CheckpointConfig
from pipeline.data.config import Corruption, DataConfig, MaskingConfig
from pipeline.engine.config import EngineConfig
from pipeline.families import get_family
from pipeline.model.config import EncoderConfig
from pipeline.optim.config import OptimizerConfig
from pipeline.optim.schedule import ScheduleConfig
from pipeline.runlog.config import LoggingConfig
from pipeline.runtime.command import program
from pipeline.runtime.options import check_arguments, kinds_of, pairs
from pipeline.runtime.recipes import RECIPE_HELP, RecipeFile, find
from pipeline.training.config import EvaluationConfig


@dataclass(frozen=True)
class BatchConfig:
    """How many samples make one optimizer step."""

    global_batch_size: int = 65536
    """Samples per optimizer step, over all ranks."""
    micro_batch_size: int = 64
    """Samples per forward pass on one rank; bounds the memory. Must divide global_batch_size / ranks."""

    def __post_init__(self) -> None:
        for name in ("global_batch_size", "micro_batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"batch.{name} = {getattr(self, name)}: must be at least 1")


@dataclass(frozen=True)
class Recipe:
    """Everything that defines a pre-training run. The types of `model` and `masking` are the family's."""

    run_dir: str
    """Directory of the run: recipe, metrics, checkpoints. A run that is there already is continued."""
    data: DataConfig
    """Where the samples are."""
    model: EncoderConfig
    """Shape of the model."""
    family: str = "bert"
    """Which model is trained, and with which objective: a file of pipeline/families. It decides what the sections model
    and masking hold."""
    seed: int = 12345
    """Seed of weights, sample order, masks and dropout."""
    init_from: str = ""
    """Checkpoint, or run whose newest one is taken, that a new run starts from; empty: random weights."""
    init_moments: bool = True
    """With init_from: also take the optimizer's moments; schedule and data start anew in any case."""
    restart_from_scratch: bool = False
    """Train from the start although the run has lost its checkpoints, or all are damaged; without this such a run is
    refused. Where a checkpoint is sound, the run is continued from it in any case."""
    masking: Corruption = field(default_factory=MaskingConfig)
    """Which tokens are masked."""
    batch: BatchConfig = field(default_factory=BatchConfig)
    """Batch sizes."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """LAMB or AdamW."""
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    """Learning rate over time."""
    engine: EngineConfig = field(default_factory=EngineConfig)
    """DeepSpeed."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """Held-out evaluation."""
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    """Checkpoints."""
    logging: LoggingConfig = field(default_factory=LoggingConfig)
    """Metrics."""

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed = {self.seed}: must be at least 0 and below 2**63")


def plain(recipe: Recipe) -> dict[str, Any]:
    """The recipe as nested plain values, the way JSON holds them."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(recipe), default=str))
    return values


@cache
def recipe_class(family: str) -> type[Recipe]:
    """The recipe of a family, with its sections `[model]` and `[masking]`.

    Raises:
        ValueError: there is no such family.
    """
    chosen = get_family(family)
    masking = ("masking", chosen.corruption, field(default_factory=chosen.corruption))
    return make_dataclass("Recipe", [("model", chosen.config), masking], bases=(Recipe,), frozen=True)


def family_of(arguments: list[str]) -> str:
    """The family that a command line, or else its recipe, names.

    Raises:
        ArgumentError: the command line names one that there is not.
        ValueError: the recipe does; names the file.
    """
    given: dict[str, str] = {}
    with suppress(ArgumentError):  # as below
        for name, value in pairs(arguments):
            given |= {name: value} if value is not None else {}
    family, place = given.get("family"), ""
    if family is None and "recipe" in given:
        with suppress(ValueError, OSError):  # `check_arguments` reports what is wrong with it
            path = find(given["recipe"])
            family, place = tomllib.loads(path.read_text(encoding="utf-8")).get("family"), f"{path}: "
    family = family if isinstance(family, str) else "bert"
    try:
        get_family(family)
    except ValueError as error:
        raise ValueError(f"{place}{error}") if place else ArgumentError(None, str(error)) from None
    return family


def parser(recipe: type[Recipe]) -> ArgumentParser:
    """The command line of `pipeline.pretrain`: `--recipe FILE` and one option per field."""
    made = ArgumentParser(
        prog=program("pipeline.pretrain"),
        parser_mode="toml",
        exit_on_error=False,
        description="Pre-train a model from a recipe. Options override the recipe's fields.",
    )
    made.add_argument("--recipe", action=RecipeFile, help=RECIPE_HELP)
    made.add_class_arguments(recipe)
    return made


def parse(arguments: list[str]) -> Recipe:
    """The recipe of a command line.

    Raises:
        jsonargparse.ArgumentError: the command line has an unknown option, or a value that cannot be.
        ValueError: no such recipe; or it has an unknown or doubled key, a value of the wrong type or out of its range,
            or values that do not fit together.
    """
    recipe = recipe_class(family_of(arguments))
    given = check_arguments(arguments, kinds_of(recipe))
    made = parser(recipe)
    try:
        values = made.instantiate(made.parse_args(arguments))
        values.pop("recipe", None)
        return recipe(**vars(values))
    except ArgumentError as error:
        text = " ".join(str(error).split())
        _, is_missing, names = text.partition("the following arguments are required: ")
        if is_missing and "recipe" in given:
            raise ValueError(f"--recipe: the recipe lacks {names}; add them, or give them as options") from None
        raise ArgumentError(None, text) from None
    except ValueError as error:
        if str(error).partition(" = ")[0] in given:  # what is out of its range was said on the command line
            raise ArgumentError(None, str(error)) from None
        raise


def to_toml(recipe: Recipe) -> str:
    """The whole recipe as TOML text that `parse` reads back."""
    made = parser(type(recipe))
    return str(made.dump(made.parse_object(asdict(recipe)), skip_unset=False))
