"""What every family provides, and what all of them use to meet Hugging Face's parameter names."""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pipeline.model.encoder import EncoderConfig

# Our parameter's name -> Hugging Face's names of the tensors that, stacked along dimension 0, are ours.
Names = Mapping[str, tuple[str, ...]]
# A parameter's name -> the name of the parameter it shares its storage with.
Ties = Mapping[str, str]
MAX_SIZE = 2**31 - 1
"""Largest number that a configuration read from a file may hold."""


@dataclass(frozen=True)
class Family:
    """A member of the BERT family: everything about it that the rest of the pipeline asks for."""

    name: str
    """As recipes spell it."""
    config_class: type[EncoderConfig]
    """The recipe's `[model]` section."""
    build: Callable[[Any, int], nn.Module]
    """(config, vocab_size) -> model with fresh weights drawn from torch's default generator."""
    no_weight_decay: Callable[[str], bool]
    """Parameter name -> whether weight decay leaves it alone."""
    stacked_tensors: Callable[[str], int]
    """Parameter name -> how many tensors of the reference implementation it stacks; LAMB gives each its own ratio."""
    training_flops: Callable[..., int]
    """(config, vocab_size, num_tokens, sum_squared_lengths, num_masked, num_samples) -> forward and backward FLOPs."""
    word_embeddings: str
    """Our name of the input embedding, whose rows are the vocabulary."""
    huggingface_class: str
    """The class in `transformers` whose forward pass the model equals."""
    config_to_huggingface: Callable[[Any, int], dict[str, Any]]
    """(config, vocab_size) -> arguments of that class's configuration."""
    config_from_huggingface: Callable[[Mapping[str, Any]], EncoderConfig]
    """A `config.json` -> config; ValueError where it asks for what the family does not do."""
    to_huggingface: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
    """Our state dict -> theirs."""
    from_huggingface: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
    """Their state dict -> ours; ValueError where a tensor is missing or has no place here."""
    count_layers: Callable[[Mapping[str, Tensor]], int]
    """Our state dict -> how many layers it holds."""


C = TypeVar("C", bound=EncoderConfig)


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
    for field in fields(config_class):
        if field.name in own:
            continue
        value: Any = values.get(field.name)
        kind: Any = field.type if field.type in (int, float) else str
        if not isinstance(value, (int, float) if kind is float else kind) or isinstance(value, bool):
            raise ValueError(f"config.json: {field.name} = {value!r}: must be of type {kind.__name__}")
        if kind is not str and not abs(value) <= MAX_SIZE:
            raise ValueError(f"config.json: {field.name} = {value!r}: must be a number of at most {MAX_SIZE:,}")
        chosen[field.name] = value
    try:
        return config_class(**chosen)
    except ValueError as error:
        raise ValueError(f"config.json: {error}") from None


def rename_to_huggingface(state: Mapping[str, Tensor], names: Names) -> dict[str, Tensor]:
    """Our parameters under Hugging Face's names, stacked ones cut apart; views, no copies.

    Args:
        state: exactly the parameters that `names` lists.
        names: our name -> their names.

    Raises:
        ValueError: a parameter is missing or unknown.
    """
    _require_same_names(state, set(names), "this model's state dict")
    renamed: dict[str, Tensor] = {}
    for ours, theirs in names.items():
        renamed.update(zip(theirs, state[ours].chunk(len(theirs)), strict=True))
    return renamed


def rename_from_huggingface(state: Mapping[str, Tensor], names: Names) -> dict[str, Tensor]:
    """The inverse of `rename_to_huggingface`.

    Raises:
        ValueError: a parameter is missing or unknown.
    """
    _require_same_names(state, {name for theirs in names.values() for name in theirs}, "the Hugging Face state dict")
    parts = {ours: [state[name] for name in theirs] for ours, theirs in names.items()}
    return {ours: torch.cat(tensors) if len(tensors) > 1 else tensors[0] for ours, tensors in parts.items()}


def fill_ties(state: Mapping[str, Tensor], ties: Ties) -> dict[str, Tensor]:
    """The state dict with shared parameters under all their names, whichever of them were saved."""
    filled = dict(state)
    for alias, source in ties.items():
        if alias not in filled and source in filled:
            filled[alias] = filled[source]
    return filled


def _require_same_names(state: Mapping[str, Tensor], expected: set[str], what: str) -> None:
    missing, unknown = sorted(expected - state.keys()), sorted(state.keys() - expected)
    if missing or unknown:
        raise ValueError(
            f"{what} does not fit: missing {_first(missing)}; unknown {_first(unknown)}. "
            "It comes from another family, another class or another number of layers"
        )


def _first(names: list[str], shown: int = 5) -> str:
    """The first few names and how many more there are."""
    if not names:
        return "nothing"
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
