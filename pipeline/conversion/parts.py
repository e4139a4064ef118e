"""The parts of a model that no single class of `transformers` has: divided for an export, joined by an import."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pipeline.families.base import Family, Ties
from pipeline.model.config import EncoderConfig


@dataclass(frozen=True, eq=False)
class ModelPart:
    """A part of a model, or the whole of a model without parts."""

    directory: str
    """Directory below that of the whole model; empty: that directory itself."""
    family: Family[Any]
    config: EncoderConfig
    state_dict: Mapping[str, Tensor]
    """Parameters under their names in the part."""
    carried: Mapping[str, Tensor] = field(default_factory=dict)
    """Further tensors under the names of `Family.carried`, which the first part of a whole model holds."""


def divide(family: Family[Any], config: EncoderConfig, state_dict: Mapping[str, Tensor]) -> list[ModelPart]:
    """Return the parts of a model; the model itself if its family has none.

    Raises:
        ValueError: a parameter is in none of the parts.
    """
    if not family.parts:
        return [ModelPart("", family, config, state_dict)]
    divided = family.divided(state_dict)
    carried = {name: divided[name] for name in family.carried if name in divided}
    state_dict = {name: value for name, value in divided.items() if name not in carried}
    if unknown := [name for name in state_dict if not any(part.renamed(name) for part in family.parts)]:
        raise ValueError(
            f"this model's state dict does not fit: unknown {unknown[0]}. It comes from another family than "
            f"{family.name}"
        )
    return [
        ModelPart(
            part.directory,
            part.family,
            part.config(config),
            {part.renamed(name): value for name, value in state_dict.items() if part.renamed(name)},
            {} if number else carried,
        )
        for number, part in enumerate(family.parts)
    ]


def join(family: Family[Any], parts: Sequence[ModelPart]) -> ModelPart:
    """Return the model whose parts are given, in the order of `family.parts`; the inverse of `divide`.

    Raises:
        ValueError: the configurations do not fit together, or a parameter that parts share has different values.
    """
    if not family.parts:
        return parts[0]
    config = family.joined(tuple(part.config for part in parts))
    vocab_size = len(parts[0].state_dict[family.word_embeddings])
    with torch.device("meta"):
        expected = family.build(config, vocab_size).state_dict()
    state = {}
    for name in expected:
        held = [
            (model.directory, model.state_dict[part.renamed(name)])
            for part, model in zip(family.parts, parts, strict=True)
            if part.renamed(name)
        ]
        for directory, value in held[1:]:
            if value.shape != held[0][1].shape or not torch.equal(value, held[0][1]):
                raise ValueError(
                    f"{directory}: {name} differs from that of the encoder, but the {family.name} family has one "
                    "tensor for both; take both directories from the same model"
                )
        state[name] = held[0][1]
    state = dict(family.united({**state, **parts[0].carried}))
    state |= {alias: state[source] for alias, source in ties(family, expected).items()}
    return ModelPart("", family, config, state)


def ties(family: Family[Any], names: Collection[str]) -> Ties:
    """Return the parameters of a whole model that share their storage with another one, which is the value.

    Args:
        family: family of the model.
        names: names of all its parameters.
    """
    if not family.parts:
        return family.export.ties
    shared: dict[str, str] = {}
    for part in family.parts:
        whole = {part.renamed(name): name for name in names}
        shared |= {whole[alias]: whole[source] for alias, source in part.family.export.ties.items()}
    return shared
