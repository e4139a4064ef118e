"""A recipe: the parts' own dataclasses composed, read from TOML and overridden from the command line.

Precedence: command line > recipe file > defaults. Each number has one home; unknown and doubled keys are errors that
name them. What a run used is saved beside it as `recipe.toml`.
"""

from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ActionConfigFile, ArgumentParser, set_parsing_settings

from pipeline.families.bert_config import BertConfig
from pipeline.optim.schedule import ScheduleConfig
from pipeline.sections import (
    CheckpointConfig,
    DataConfig,
    EngineConfig,
    EvaluationConfig,
    LoggingConfig,
    MaskingConfig,
    OptimizerConfig,
)
from preprocessing.files import is_temporary, write_text

set_parsing_settings(docstring_parse_attribute_docstrings=True)


@dataclass(frozen=True)
class BatchConfig:
    """How many samples make one optimizer step."""

    global_batch_size: int = 65536
    """Samples per optimizer step, over all ranks."""
    micro_batch_size: int = 64
    """Samples per forward pass on one rank; bounds the memory. Must divide global_batch_size / ranks."""


@dataclass(frozen=True)
class Recipe:
    """Everything that defines a pre-training run."""

    run_dir: str
    """Directory of the run: recipe, metrics, checkpoints. A run that is there already is continued."""
    data: DataConfig
    """Where the samples are."""
    model: BertConfig
    """Shape of the model."""
    family: Literal["bert"] = "bert"
    """Which model is trained, and with which objective."""
    seed: int = 12345
    """Seed of weights, sample order, masks and dropout."""
    init_from: str = ""
    """Checkpoint, or run whose newest one is taken, that a new run starts from; empty: random weights."""
    init_moments: bool = True
    """With init_from: also take the optimizer's moments; schedule and data start anew in any case."""
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    """Masked language model."""
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


MAY_CHANGE = (
    "engine",
    "evaluation",
    "checkpoint",
    "logging",
    "run_dir",
    "batch.micro_batch_size",
    "data.samples",
    "data.num_workers",
    "data.prefetch",
    "model.activation_checkpointing",
    "model.recompute_activation",
    "model.max_logits_mib",
    "optimizer.backend",
)
"""What a resumed run may set differently: none of it changes what is computed, except for rounding."""


def parser() -> ArgumentParser:
    """The command line of `pipeline.pretrain`: `--recipe FILE` and one option per field."""
    made = ArgumentParser(
        prog="pretrain",
        parser_mode="toml",
        exit_on_error=False,
        description="Pre-train a model from a recipe. Options override the recipe's fields.",
    )
    made.add_argument("--recipe", action=ActionConfigFile, help="TOML file with the fields below as sections and keys.")
    made.add_class_arguments(Recipe)
    return made


def parse(arguments: list[str]) -> Recipe:
    """The recipe of a command line.

    Raises:
        jsonargparse.ArgumentError: an unknown or doubled key, or a value of the wrong type.
        ValueError: no such recipe, a value out of its range, or values that do not fit together.
    """
    for option, value in pairwise(arguments):
        if option == "--recipe" and not Path(value).is_file():
            raise ValueError(
                f"--recipe {value}: no such file; pipeline/recipes/ holds those that come with the project"
            )
    made = parser()
    values = made.instantiate(made.parse_args(arguments))
    values.pop("recipe", None)
    return Recipe(**vars(values))


def to_toml(recipe: Recipe) -> str:
    """The whole recipe as TOML text that `parse` reads back."""
    made = parser()
    return str(made.dump(made.parse_object(asdict(recipe)), skip_unset=False))


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by dotted name."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def differences(old: Recipe, new: Recipe) -> list[str]:
    """Fields, as `name: old -> new`, in which a resumed run would not be the run that was begun."""
    before, after = flatten(asdict(old)), flatten(asdict(new))
    return [
        f"{name}: {before[name]} -> {after[name]}"
        for name in before
        if before[name] != after[name] and not name.startswith(MAY_CHANGE)
    ]


def open_run(recipe: Recipe) -> Path:
    """Begin or continue the run's directory; call on the main rank.

    Raises:
        ValueError: the directory holds something else, or a run with another recipe (the fields are named).
    """
    run = Path(recipe.run_dir)
    saved = run / "recipe.toml"
    if saved.is_file():
        changed = differences(parse(["--recipe", str(saved)]), recipe)
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
    write_text(saved, to_toml(recipe))
    return run
