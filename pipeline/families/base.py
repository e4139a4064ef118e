"""The seam of a family: everything that the rest of the pipeline asks about a model and its objective.

A family is one file in this directory, found by its name, whose `FAMILY` is a `Family`. It declares and composes: the
building blocks are in `pipeline.model`, `pipeline.data` and `pipeline.losses`. It is read wherever a recipe is, also
for a help text, and therefore imports torch and numpy only inside of the functions that compute.
"""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pipeline.data.config import Corruption
from pipeline.data.template import Template
from pipeline.model.config import EncoderConfig
from pipeline.optim.parameters import Parameters
from pipeline.runlog.terms import Term

if TYPE_CHECKING:
    from torch import Tensor, nn

Names = Mapping[str, tuple[str, ...]]
"""Our parameter's name -> Hugging Face's names of the tensors that, stacked along dimension 0, are ours."""
Ties = Mapping[str, str]
"""A parameter's name -> the name of the parameter that it shares its storage with."""
Tensors = Mapping[str, "Tensor"]
"""Parameters by name."""
MAX_SIZE = 2**31 - 1
"""Largest number that a configuration read from a file may hold."""

C = TypeVar("C", bound=EncoderConfig)


def unchanged(tensors: Tensors) -> Tensors:
    """The parameters as they are."""
    return tensors


@dataclass(frozen=True)
class Export(Generic[C]):
    """How a model corresponds to a class of `transformers` whose forward pass it equals."""

    model_class: str
    """Name of the class."""
    names: Callable[[int], Names]
    """Number of layers -> every parameter's name here and there."""
    config_to: Callable[[C, int], dict[str, Any]]
    """(config, vocab_size) -> arguments of the class's configuration."""
    config_from: Callable[[Mapping[str, Any]], C]
    """A complete `config.json` -> config; ValueError where it asks for what the family does not compute."""
    ties: Ties = field(default_factory=dict)
    """Parameters that share their storage here."""
    class_ties: Ties = field(default_factory=dict)
    """Parameters that share their storage there; a directory may hold them under either name or both."""
    ignored: tuple[str, ...] = ()
    """Ends of the names of buffers that older versions of `transformers` saved among the parameters."""
    modern: Callable[[str], str] = lambda name: name
    """A parameter's name in an older checkpoint -> its name today."""
    leaving: Callable[[Tensors], Tensors] = unchanged
    """The last change of the parameters under their names there, before they are saved."""
    arriving: Callable[[Tensors], Tensors] = unchanged
    """Its inverse: the first change of the parameters that were read."""


@dataclass(frozen=True)
class Family(Generic[C]):
    """A member of the BERT family."""

    name: str
    """As recipes spell it."""
    config: type[C]
    """The recipe's `[model]` section."""
    corruption: type[Corruption]
    """The recipe's `[masking]` section."""
    template: Template
    """The special tokens around segments."""
    samples: tuple[str, ...]
    """Which `--segments` of the preprocessing it trains on; the first is the one to suggest."""
    terms: tuple[Term, ...]
    """The terms of its loss."""
    build: Callable[[C, int], "nn.Module"]
    """(config, vocab_size) -> model with fresh weights drawn from torch's default generator. Its forward pass takes a
    `Batch` and gives an `Output` with the sums of the terms."""
    parameters: Parameters
    """What optimizers ask about its parameters."""
    word_embeddings: str
    """Our name of the input embedding, whose rows are the vocabulary."""
    layer: str
    """End of the name of a parameter that each layer has once."""
    export: Export[C]
    """Its class in `transformers`."""


def under(prefix: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """The names within a module."""
    return tuple(f"{prefix}.{name}" for name in names)


def with_bias(ours: str, *theirs: str) -> Names:
    """The weight and the bias of a module."""
    return {f"{ours}.{kind}": under_all(theirs, kind) for kind in ("weight", "bias")}


def under_all(modules: tuple[str, ...], name: str) -> tuple[str, ...]:
    """One name within each of some modules."""
    return tuple(f"{module}.{name}" for module in modules)


def config_from_fields(config_class: type[C], values: Mapping[str, Any], own: Container[str] = ()) -> C:
    """A configuration from fields of a `config.json` of the same names, each checked for its type.

    Args:
        config_class: the family's configuration.
        values: all fields of the file, with those that it leaves out.
        own: fields of the configuration that the file does not have.

    Raises:
        ValueError: a field is missing, or has another type or a value out of range; names it.
    """
    chosen: dict[str, Any] = {}
    for each in fields(config_class):
        if each.name in own:
            continue
        value: Any = values.get(each.name)
        kind: Any = each.type if each.type in (int, float) else str
        if not isinstance(value, (int, float) if kind is float else kind) or isinstance(value, bool):
            raise ValueError(f"config.json: {each.name} = {value!r}: must be of type {kind.__name__}")
        if kind is not str and not abs(value) <= MAX_SIZE:
            raise ValueError(f"config.json: {each.name} = {value!r}: must be a number of at most {MAX_SIZE:,}")
        chosen[each.name] = value
    try:
        return config_class(**chosen)
    except ValueError as error:
        raise ValueError(f"config.json: {error}") from None


def require_fixed(family: str, values: Mapping[str, Any], fixed: Mapping[str, Any]) -> None:
    """Check the fields of a `config.json` that change what a model computes and that a family has one value for.

    Raises:
        ValueError: a field has another value; names it.
    """
    for name, only in fixed.items():
        if values.get(name, only) != only:
            raise ValueError(f"config.json: {name} = {values[name]!r}: the {family} family computes only {only!r}")
