"""Recipes of fine-tuning, read from the command line, TOML files and the published settings of a family.

Precedence: command line > recipe file > published settings for the model's family and the task > defaults.
"""

import json
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentError, ArgumentParser

from pipeline.conversion.exported import Publication
from pipeline.families import family_of_type, get_family
from pipeline.families.base import FAMILY_FIELD
from pipeline.optim.config import OptimizerConfig
from pipeline.runlog.config import LoggingConfig
from pipeline.runtime.command import program
from pipeline.runtime.options import check_arguments, flatten, kinds_of, pairs
from pipeline.runtime.recipes import RECIPE_HELP, RecipeFile, find
from pipeline.tasks.config import SquadConfig, TextConfig, TokensConfig
from pipeline.tasks.glue import GLUE

CLASSIFICATION, TOKENS, SQUAD, SWAG = "classification", "tokens", "squad", "swag"
TASKS = (*GLUE, CLASSIFICATION, TOKENS, SQUAD, SWAG)
"""Names of the tasks."""
MAY_CHANGE = (
    "logging.",
    "out",
    "model",
    "data",
    "training.max_tokens",
    "training.checkpoint_every",
    "optimizer.backend",
    "publication.",
)
"""Prefixes of fields that a resumed run may set differently; a checksum compares its examples. With a frozen encoder,
whose weights are in no checkpoint, `model` is not one of them."""


@dataclass(frozen=True)
class TuningConfig:
    """Length, batches and regularisation of the training."""

    epochs: int = 3
    """Passes over the training examples."""
    batch_size: int = 32
    """Examples of an optimizer step; the last step of an epoch takes the remaining ones."""
    max_tokens: int = 16384
    """Upper bound on the tokens that are computed at once. A batch with more is computed in parts, which takes less
    memory."""
    warmup_proportion: float = 0.1
    """Share of the steps over which the learning rate increases linearly from 0 to the peak; it then decreases linearly
    to 0."""
    layer_decay: float = 1.0
    """Factor of the learning rate from each layer to the one below it; 1: all layers have the same rate (Clark et al.
    2020, ELECTRA: 0.8)."""
    dropout: float = 0.1
    """Dropout of hidden states, attention and head, whatever the model was pre-trained with."""
    frozen_encoder: bool = False
    """Whether the encoder keeps its weights and the head alone is trained, which measures what the encoder has
    learned."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: the loss of each class is weighted by the inverse of its frequency among the training examples."""
    patience: int = 0
    """Epochs without a better result on the dev split after which training ends; 0: all epochs are trained."""
    checkpoint_every: int = 1000
    """Optimizer steps between checkpoints within an epoch; 0: only the end of an epoch has one."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Precision of the products; weights, moments and gradients are fp32 in any case."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "max_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"training.{name} = {getattr(self, name)}: must be at least 1")
        for name in ("patience", "checkpoint_every"):
            if getattr(self, name) < 0:
                raise ValueError(f"training.{name} = {getattr(self, name)}: must be at least 0")
        if not 0 <= self.warmup_proportion < 1:
            raise ValueError(f"training.warmup_proportion = {self.warmup_proportion}: must be at least 0 and below 1")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"training.layer_decay = {self.layer_decay}: must be above 0 and at most 1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"training.dropout = {self.dropout}: must be in [0, 1); 0 turns dropout off")


@dataclass(frozen=True)
class SweepConfig:
    """Several runs that differ in learning rate and seed, and a table of their results."""

    rates: list[float] = field(default_factory=list)
    """Learning rates, each of which is trained with all seeds; empty: optimizer.lr alone."""
    seeds: int = 1
    """Number of seeds, which are seed, seed + 1 and so on."""
    only: int = 0
    """Number of the only run that this command does, counted from 1, as a task of a job array needs it; 0: all runs."""
    remove_others: bool = False
    """Whether the models and checkpoints of all runs but the best one of a task are removed at the end."""

    def __post_init__(self) -> None:
        for rate in self.rates:
            if not rate > 0 or self.rates.count(rate) > 1:
                raise ValueError(f"sweep.rates = {self.rates}: must be above 0 and different; correct {rate}")
        if self.seeds < 1:
            raise ValueError(f"sweep.seeds = {self.seeds}: must be at least 1")
        if self.only < 0:
            raise ValueError(f"sweep.only = {self.only}: must be at least 0; 0 does all runs")

    @property
    def is_on(self) -> bool:
        """Whether there are several runs, or rates are named."""
        return bool(self.rates) or self.seeds > 1


@dataclass(frozen=True)
class FinetuningRecipe:
    """Configuration of a fine-tuning."""

    task: str
    """Task: a name of GLUE, classification for tables of texts with labels or numbers, tokens for sentences whose words
    have tags, squad for questions about contexts, or swag for the right ending among several."""
    model: str
    """Directory of the model that is fine-tuned, as transformers loads it, with its tokenizer."""
    data: str
    """Directory of the examples: of a task of GLUE with its original files; with the tables train, dev and test (.tsv,
    .csv, .jsonl or .parquet); of tokens with the files train, dev and test in the form of CoNLL (.conll or .txt); of
    squad with the files of SQuAD; of swag with the tables train, val and test in the form of SWAG."""
    out: str = ""
    """Directory of the run, with recipe, metrics, checkpoints and the fine-tuned model; a run that exists there
    continues. Empty: runs/TASK."""
    seed: int = 1
    """Seed of the head's weights, of the order of the examples and of dropout."""
    text: TextConfig = field(default_factory=TextConfig)
    """Columns and length of the examples."""
    tokens: TokensConfig = field(default_factory=TokensConfig)
    """Columns of the task tokens."""
    squad: SquadConfig = field(default_factory=SquadConfig)
    """Files, windows and answers of the task squad."""
    training: TuningConfig = field(default_factory=TuningConfig)
    """Training."""
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig("adamw", 2e-5))
    """Optimizer: AdamW."""
    logging: LoggingConfig = field(default_factory=LoggingConfig)
    """Metrics."""
    sweep: SweepConfig = field(default_factory=SweepConfig)
    """Several learning rates and seeds."""
    publication: Publication = field(default_factory=Publication)
    """What the model card states beside what is recorded."""

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ValueError(f"task = {self.task}: must be one of {', '.join(TASKS)}")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed = {self.seed}: must be at least 0 and below 2**63")
        if self.optimizer.name != "adamw":
            raise ValueError(
                f"optimizer.name = {self.optimizer.name}: must be adamw; fine-tuning has no other optimizer"
            )
        if self.text.regression and self.training.class_weights != "none":
            raise ValueError("training.class_weights = balanced: a regression has no classes; remove one of the two")
        if self.task not in (*GLUE, CLASSIFICATION) and self.training.class_weights != "none":
            raise ValueError(f"training.class_weights = balanced: {self.task} has no class weights; set none")
        if self.task not in (*GLUE, CLASSIFICATION) and self.text.long != "cut":
            raise ValueError(f"text.long = {self.text.long}: has no effect on the task {self.task}; set cut")

    @property
    def may_change(self) -> tuple[str, ...]:
        """Prefixes of fields that this run may set differently when it is resumed."""
        return tuple(name for name in MAY_CHANGE if name != "model" or not self.training.frozen_encoder)

    @property
    def run(self) -> Path:
        """Directory of the run."""
        return Path(self.out or f"runs/{self.task}")


def parser(published: Mapping[str, Any]) -> ArgumentParser:
    """Return the parser of the command line: `--recipe FILE` and one option per field.

    Args:
        published: values that replace defaults, by dotted name.
    """
    made = ArgumentParser(
        prog=program("pipeline.finetune"),
        parser_mode="toml",
        exit_on_error=False,
        usage="%(prog)s TASK --model DIR --data DIR [--out DIR] [--recipe FILE] [--section.field VALUE ...]",
        description="Fine-tune a model on a task. Options override the recipe's fields, which override the published "
        f"settings for the model's family and the task. Tasks: {', '.join(TASKS)}; glue: all tasks of GLUE whose files "
        "are below the data, and their average.",
    )
    made.add_argument("--recipe", action=RecipeFile, help=RECIPE_HELP)
    made.add_class_arguments(FinetuningRecipe)
    made.set_defaults({"optimizer.name": "adamw", **published})
    return made


def parse(arguments: list[str]) -> FinetuningRecipe:
    """Return the recipe of a command line, whose first argument may be the task.

    Raises:
        jsonargparse.ArgumentError: the command line has an unknown option or an invalid value.
        ValueError: the recipe does not exist; or it has an unknown key, a value of the wrong type or out of range, or
            values that contradict each other.
    """
    if arguments and not arguments[0].startswith("-"):
        arguments = ["--task", *arguments]
    given = check_arguments(arguments, kinds_of(FinetuningRecipe))
    made = parser(published_settings(arguments))
    try:
        values = made.instantiate(made.parse_args(arguments))
        values.pop("recipe", None)
        return FinetuningRecipe(**vars(values))
    except ArgumentError as error:
        raise ArgumentError(None, " ".join(str(error).split())) from None
    except ValueError as error:
        if str(error).partition(" = ")[0] in given:  # the command line set the value that is out of range
            raise ArgumentError(None, str(error)) from None
        raise


def published_settings(arguments: list[str]) -> dict[str, Any]:
    """Return the published settings for the task, and for family and size of the model, that a command line or its
    recipe names.

    They are empty if task or model are not known; the parser, or reading the model, reports that.
    """
    named: dict[str, Any] = {}
    given = {name: value for name, value in pairs(arguments) if value is not None}
    with suppress(ValueError, OSError):
        named = tomllib.loads(find(given["recipe"]).read_text(encoding="utf-8")) if "recipe" in given else {}
    named |= given
    with suppress(ValueError, OSError, AttributeError):
        config = json.loads((Path(str(named.get("model"))) / "config.json").read_text(encoding="utf-8"))
        name = config.get(FAMILY_FIELD) or family_of_type(config.get("model_type", "bert"))
        size = config.get("hidden_size")
        task, units = str(named.get("task")), size if isinstance(size, int) else 0
        return dict(get_family(name).settings(task, units)) if name else {}
    return {}


def plain(recipe: FinetuningRecipe) -> dict[str, Any]:
    """Return the recipe as nested values that JSON can represent."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(recipe)))
    return values


def to_toml(recipe: FinetuningRecipe) -> str:
    """Return the whole recipe as TOML text, which `parse` can read."""
    made = parser({})
    return str(made.dump(made.parse_object(asdict(recipe)), skip_unset=False))


def defaults() -> dict[str, Any]:
    """Return the default of each field by dotted name; fields without a default are absent."""
    return {name: value for name, value in flatten(parser({}).get_defaults().as_dict()).items() if value is not None}
