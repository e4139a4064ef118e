"""Renaming of parameters between this project and `transformers`, by the family's `Export`."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pipeline.families.base import Export, Family, Ties


def count_layers(family: Family[Any], state: Mapping[str, Tensor]) -> int:
    """Return the number of distinct layers of the encoder in a state dict under the names of this project."""
    return sum(name.startswith("encoder.") and name.endswith(family.layer) for name in state)


def to_huggingface(family: Family[Any], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the equivalent state dict of the family's class in `transformers`, as views without copies.

    Args:
        family: family of the model.
        state: parameters under the names of this project.

    Raises:
        ValueError: the names are not those of the family's model.
    """
    return exported_of(family, renamed(family, state))


def exported_of(family: Family[Any], named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the parameters that the family's class has, of all that `renamed` returns."""
    return {name: value for name, value in named.items() if not name.startswith(family.export.unexported)}


def renamed(family: Family[Any], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return all parameters under names of `transformers`, also those for which the family's class has no module.

    Args:
        family: family of the model.
        state: parameters under the names of this project.

    Raises:
        ValueError: the names are not those of the family's model.
    """
    export, filled = family.export, _fill_ties(state, family.export.ties)
    names = export.names(count_layers(family, state))
    names = {ours: theirs for ours, theirs in names.items() if ours in filled or ours not in export.optional}
    missing, unknown = sorted(names.keys() - filled.keys()), sorted(filled.keys() - names.keys())
    require_none(missing, unknown, "this model's state dict")
    named: dict[str, Tensor] = {}
    for ours, theirs in names.items():
        named.update(zip(theirs, filled[ours].chunk(len(theirs)), strict=True))
    return _fill_ties(export.leaving(named), export.class_ties)


class Taken(NamedTuple):
    """What a family's class in `transformers` takes of a state dict."""

    parameters: dict[str, Tensor]
    """The parameters that are there, under the names of this project."""
    missing: dict[str, list[str]]
    """The others -> those of their names in `transformers` that are not there."""
    unknown: list[str]
    """Names in `transformers` that the class does not have."""


def take(family: Family[Any], state: Mapping[str, Tensor]) -> Taken:
    """Return the parameters under the names of this project, and what is missing or unknown.

    Args:
        family: family of the model.
        state: parameters under their names in `transformers`, which may be meta tensors; tied ones may be present
            under one name only.

    Raises:
        ValueError: two tied tensors differ.
    """
    export = family.export
    filled = {export.modern(name): value for name, value in state.items()}
    filled = {name: value for name, value in filled.items() if not name.endswith(export.ignored)}
    for alias, source in export.class_ties.items():
        _require_equal(family, filled, alias, source)
    filled = _fill_ties(
        _fill_ties(filled, export.class_ties), {source: alias for alias, source in export.class_ties.items()}
    )
    # The number of layers follows from the names: a layer exists if any of its parameters is present.
    layers = 0
    while any(name in filled for name in _of_layer(export, layers)):
        layers += 1
    names = export.names(layers)
    absent = {ours for ours in export.optional if not filled.keys() & set(names[ours])}
    names = {ours: parts for ours, parts in names.items() if ours not in absent}
    theirs = {name for parts in names.values() for name in parts}
    arrived = export.arriving({name: filled[name] for name in filled if name not in set(export.class_ties) - theirs})
    missing = {ours: [name for name in parts if name not in arrived] for ours, parts in names.items()}
    missing = {ours: absent for ours, absent in missing.items() if absent}
    parts = {ours: [arrived[name] for name in names[ours]] for ours in names if ours not in missing}
    return Taken({ours: _stacked(names[ours], parts[ours]) for ours in parts}, missing, sorted(arrived.keys() - theirs))


def _stacked(names: tuple[str, ...], tensors: list[Tensor]) -> Tensor:
    if len(tensors) == 1:
        return tensors[0]
    try:
        return torch.cat(tensors)
    except RuntimeError:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors)
        raise ValueError(f"{', '.join(names)} have the shapes {shapes}, which do not fit together") from None


def from_huggingface(family: Family[Any], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the equivalent state dict under the names of this project, the inverse of `to_huggingface`.

    Args:
        family: family of the model.
        state: parameters under their names in `transformers`; tied ones may be present under one name only.

    Raises:
        ValueError: the names are not those of the family's class, or two tied tensors differ.
    """
    taken = take(family, state)
    require_none(sorted(name for absent in taken.missing.values() for name in absent), taken.unknown)
    return taken.parameters


def _of_layer(export: Export[Any], number: int) -> set[str]:
    """Return the names in `transformers` of the parameters of layer `number`."""
    more, fewer = export.names(number + 1), export.names(number)
    return {name for ours in more.keys() - fewer.keys() for name in more[ours]}


def _fill_ties(state: Mapping[str, Tensor], ties: Ties) -> dict[str, Tensor]:
    """Return the state dict with tied parameters under all their names."""
    filled = dict(state)
    for alias, source in ties.items():
        if alias not in filled and source in filled:
            filled[alias] = filled[source]
    return filled


def _require_equal(family: Family[Any], state: Mapping[str, Tensor], alias: str, source: str) -> None:
    """Raise ValueError if two tensors that the model ties have different shapes or values."""
    one, other = state.get(alias), state.get(source)
    if one is None or other is None or one is other:
        return
    if one.shape != other.shape or not (one.is_meta or torch.equal(one, other)):
        raise ValueError(f"{alias} differs from {source}, but the {family.name} family has one tensor for both")


def require_none(missing: list[str], unknown: list[str], what: str = "the Hugging Face state dict") -> None:
    """Raise ValueError if a name is missing or unknown; the message lists the first ones.

    Args:
        missing, unknown: names in alphabetical order.
        what: has them, for the message.
    """
    if missing or unknown:
        raise ValueError(
            f"{what} does not fit: missing {first(missing)}; unknown {first(unknown)}. "
            "It comes from another family, another class or another number of layers; take weights and config.json "
            "from the same model"
        )


def first(names: list[str], shown: int = 5) -> str:
    """Return the first few names and the number of further ones."""
    if not names:
        return "nothing"
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
