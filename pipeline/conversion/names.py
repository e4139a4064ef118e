"""Renaming of parameters between this project and `transformers`, by the family's `Export`."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pipeline.families.base import Export, Family, Ties


def count_layers(family: Family[Any], state: Mapping[str, Tensor]) -> int:
    """Return the number of distinct layers of the encoder in a state dict under the names of this project."""
    return sum(name.startswith("encoder.") and name.endswith(family.layer) for name in state)


def form_of_tensors(family: Family[Any], state: Mapping[str, Tensor]) -> Family[Any]:
    """Return the form of a family whose class in `transformers` has exactly these parameters.

    Args:
        family: family of the model.
        state: parameters under their names in `transformers`, which may be meta tensors.

    Returns:
        The family or one of its variants; the family if none fits, so that messages name its class.
    """
    for form in (family, *family.variants) if family.variants else ():
        try:
            from_huggingface(form, state)
        except ValueError:
            continue
        return form
    return family


def to_huggingface(family: Family[Any], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the equivalent state dict of the family's class in `transformers`, as views without copies.

    Args:
        family: family of the model.
        state: parameters under the names of this project.

    Raises:
        ValueError: the names are not those of the family's model.
    """
    export, filled = family.export, _fill_ties(state, family.export.ties)
    names = export.names(count_layers(family, state))
    names = {ours: theirs for ours, theirs in names.items() if ours in filled or ours not in export.optional}
    _require_same_names(filled, set(names), "this model's state dict")
    renamed: dict[str, Tensor] = {}
    for ours, theirs in names.items():
        renamed.update(zip(theirs, filled[ours].chunk(len(theirs)), strict=True))
    return _fill_ties(export.leaving(renamed), export.class_ties)


def from_huggingface(family: Family[Any], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the equivalent state dict under the names of this project, the inverse of `to_huggingface`.

    Args:
        family: family of the model.
        state: parameters under their names in `transformers`; tied ones may be present under one name only.

    Raises:
        ValueError: the names are not those of the family's class, or two tied tensors differ.
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
    _require_same_names(arrived, theirs, "the Hugging Face state dict")
    parts = {ours: [arrived[name] for name in names[ours]] for ours in names}
    return {ours: torch.cat(tensors) if len(tensors) > 1 else tensors[0] for ours, tensors in parts.items()}


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


def _require_same_names(state: Mapping[str, Tensor], expected: set[str], what: str) -> None:
    missing, unknown = sorted(expected - state.keys()), sorted(state.keys() - expected)
    if missing or unknown:
        raise ValueError(
            f"{what} does not fit: missing {_first(missing)}; unknown {_first(unknown)}. "
            "It comes from another family, another class or another number of layers"
        )


def _first(names: list[str], shown: int = 5) -> str:
    """Return the first few names and the number of further ones."""
    if not names:
        return "nothing"
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
