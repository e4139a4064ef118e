"""Models of classes of `transformers`, with the parameters of a pre-trained model.

A class takes what it has of the pre-trained parameters, leaves out the others, and its further parameters are drawn.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from pipeline.conversion.forms import FORMS
from pipeline.families.base import Export, Family


@dataclass(frozen=True, eq=False)
class Parameters:
    """The parameters of a class of `transformers`, under its names."""

    tensors: dict[str, Tensor]
    new: tuple[str, ...]
    """Names of those that were drawn, because the pre-trained model has none for them."""
    left_out: tuple[str, ...]
    """Names of the parameters of the pre-trained model that the class does not have."""


def class_of(export: Export[Any], form: str) -> str:
    """Return the name of a family's class for a form.

    Args:
        export: the family's class of pre-training.
        form: key of `FORMS`.

    Raises:
        ValueError: `transformers` has no such class for the family.
    """
    if not FORMS[form].mapping:
        return export.model_class
    config_class = getattr(transformers, export.model_class).config_class
    mapping = getattr(transformers, FORMS[form].mapping)
    if config_class not in mapping:
        raise ValueError(
            f"--as = {form}: transformers has no such class for {config_class.model_type}; choose another form"
        )
    return str(mapping[config_class].__name__)


def classes_of(family: Family[Any]) -> set[str]:
    """Return the names of the classes of a family that an export or a fine-tuning can write."""
    config_class = getattr(transformers, family.export.model_class).config_class
    mappings = [getattr(transformers, form.mapping) for form in FORMS.values() if form.mapping]
    found = {str(mapping[config_class].__name__) for mapping in mappings if config_class in mapping}
    found |= {form.export.model_class for form in (family, *family.variants)}
    return found | {head.model_class for head in family.heads.values()}


def assemble(
    model_class: str, fields: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> transformers.PreTrainedModel:
    """Return a model with the given parameters, without copies or random initialisation.

    Args:
        model_class: name of the class in `transformers`.
        fields: arguments of its configuration.
        tensors: all of its parameters; those of an encoder alone may have the prefix that it has inside other classes.

    Raises:
        ValueError: the parameters are not those of the class and configuration.
    """
    model = _outline(model_class, fields)
    # An encoder alone has its names without the prefix that it has inside other classes.
    prefix = f"{model.base_model_prefix}." if model.base_model is model else ""
    tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    try:
        model.load_state_dict(tensors, strict=True, assign=True)
    except RuntimeError as error:  # torch's message lists the names and shapes
        kind = model.config.model_type
        raise ValueError(f"the parameters do not fit the {kind} configuration of {model_class}: {error}") from error
    model.tie_weights()
    return model


def unread_of(export: Export[Any], named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the parameters that a class ignores in a file, under their names in the file.

    Args:
        export: the family's class of pre-training.
        named: parameters under their names in `transformers`.
    """
    return {export.unread[name]: value for name, value in named.items() if name in export.unread}


def save(
    model: transformers.PreTrainedModel, unread: Mapping[str, Tensor], directory: Path, max_shard_size: str
) -> None:
    """Write configuration and weights of a model.

    Args:
        model: the model.
        unread: further tensors of the file, which the class of the model ignores.
        directory: directory of the files.
        max_shard_size: bound on the size of a file of weights.
    """
    tensors = {**model.state_dict(), **unread} if unread else None
    model.save_pretrained(directory, state_dict=tensors, max_shard_size=max_shard_size)


def parameters_for(
    model_class: str, fields: Mapping[str, Any], pretrained: Mapping[str, Tensor], std: float, seed: int
) -> Parameters:
    """Return the parameters of a class: those of a pre-trained model that it has, and drawn ones for the others.

    New matrices are normally distributed, new biases 0 and new scales of layer normalisation 1. Torch's default
    generator is not used.

    Args:
        model_class: name of the class in `transformers`.
        fields: arguments of its configuration.
        pretrained: parameters of the family's class of pre-training, under their names in `transformers`.
        std: standard deviation of new matrices.
        seed: seed of the new parameters.
    """
    model = _outline(model_class, fields)
    wanted, prefix = model.state_dict(), f"{model.base_model_prefix}."
    # An encoder alone has its names without the prefix that it has inside other classes.
    inside = "" if any(name.startswith(prefix) for name in wanted) else prefix
    generator = torch.Generator().manual_seed(seed)
    new = tuple(name for name in wanted if inside + name not in pretrained)
    drawn = {name: _drawn(name, wanted[name].shape, std, generator).to(_dtype(pretrained)) for name in new}
    tensors = {name: drawn[name] if name in drawn else pretrained[inside + name] for name in wanted}
    taken = {inside + name for name in wanted}
    left_out = tuple(name for name in pretrained if name not in taken)
    return Parameters(tensors, new, left_out)


def _outline(model_class: str, fields: Mapping[str, Any]) -> transformers.PreTrainedModel:
    """Return a model without memory for its parameters."""
    chosen = getattr(transformers, model_class)
    with torch.device("meta"):
        model: transformers.PreTrainedModel = chosen(chosen.config_class(**fields))
    return model


def _drawn(name: str, shape: torch.Size, std: float, generator: torch.Generator) -> Tensor:
    if len(shape) > 1:
        return torch.randn(shape, generator=generator) * std
    return torch.zeros(shape) if name.endswith("bias") else torch.ones(shape)


def _dtype(tensors: Mapping[str, Tensor]) -> torch.dtype:
    return next(iter(tensors.values())).dtype
