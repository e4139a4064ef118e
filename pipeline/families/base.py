"""What every family provides, and what all of them use to meet Hugging Face's parameter names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.model.encoder import EncoderConfig

# Our parameter's name -> Hugging Face's names of the tensors that, stacked along dimension 0, are ours.
Names = Mapping[str, tuple[str, ...]]
# A parameter's name -> the name of the parameter it shares its storage with.
Ties = Mapping[str, str]


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
    """Their state dict -> ours."""


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
