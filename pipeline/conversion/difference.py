"""Differences between the weights and configurations of two models."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.conversion.weights import Weights, open_weights


@dataclass(frozen=True)
class TensorDifference:
    """The difference between two tensors of one name and shape."""

    name: str
    largest: float
    """Largest absolute difference."""
    rms: float
    """Root of the mean of the squared differences."""


@dataclass(frozen=True)
class Difference:
    """The differences between two models, which are empty if the models are equal."""

    fields: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    """Field of the configuration -> its values, None where it is absent."""
    only_first: tuple[str, ...] = ()
    """Tensors that only the first model has."""
    only_second: tuple[str, ...] = ()
    """Tensors that only the second model has."""
    shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)
    """Tensor of different shapes -> both shapes."""
    tensors: tuple[TensorDifference, ...] = ()
    """Tensors of equal shapes with different values."""
    compared: int = 0
    """Number of tensors whose values were compared."""
    numbers: int = 0
    """Number of their elements."""
    rms: float = 0.0
    """Root of the mean of the squared differences over all of these."""

    @property
    def is_empty(self) -> bool:
        """Whether the models are equal."""
        return not (self.fields or self.only_first or self.only_second or self.shapes or self.tensors)


def difference_between(first: Path, second: Path) -> Difference:
    """Compare two checkpoints or consolidated files, or two model directories; a run stands for its newest checkpoint.

    One tensor of each is in memory at a time.

    Raises:
        ValueError: one has the names of this project and the other those of `transformers`, or one is damaged.
    """
    left, right = open_weights(first), open_weights(second)
    if left.ours != right.ours:
        raise ValueError(
            f"{first} and {second}: a checkpoint and a model directory have different names of tensors; export the one "
            "or import the other first"
        )
    common = [name for name in left.shapes if name in right.shapes]
    equal = [name for name in common if left.shapes[name] == right.shapes[name]]
    found, squares, numbers = [], 0.0, 0
    for name in equal:
        one, other = left.read(name), right.read(name)
        numbers += one.numel()
        if not same(one, other):
            gap = (one - other).double().abs()
            found.append(TensorDifference(name, float(gap.max()), float(gap.square().mean().sqrt())))
            squares += float(gap.square().sum())
    return Difference(
        fields=differing_fields(left, right),
        only_first=tuple(name for name in left.shapes if name not in right.shapes),
        only_second=tuple(name for name in right.shapes if name not in left.shapes),
        shapes={name: (left.shapes[name], right.shapes[name]) for name in common if name not in equal},
        tensors=tuple(found),
        compared=len(equal),
        numbers=numbers,
        rms=math.sqrt(squares / max(1, numbers)),
    )


def differing_fields(left: Weights, right: Weights) -> dict[str, tuple[Any, Any]]:
    """Return the fields of the configuration that differ, with both values."""
    names = sorted(left.fields.keys() | right.fields.keys())
    pairs = {name: (left.fields.get(name), right.fields.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def same(one: Tensor, other: Tensor) -> bool:
    """Return whether all numbers are equal; NaN equals NaN."""
    return bool(((one == other) | (torch.isnan(one) & torch.isnan(other))).all())


def lines(found: Difference) -> Iterator[str]:
    """Yield the lines that describe a difference, the summary last."""
    if found.is_empty:
        yield f"equal: {found.compared:,} tensors, {found.numbers:,} numbers"
        return
    for name, (one, other) in found.fields.items():
        yield f"configuration: {name} = {one!r} | {other!r}"
    for side, names in (("first", found.only_first), ("second", found.only_second)):
        yield from (f"only in the {side}: {name}" for name in names)
    for name, (left, right) in found.shapes.items():
        yield f"shape: {name} {left} | {right}"
    width = max((len(each.name) for each in found.tensors), default=0)
    for each in found.tensors:
        yield f"{each.name:{width}}  largest {each.largest:.3e}  rms {each.rms:.3e}"
    largest = max((each.largest for each in found.tensors), default=0.0)
    yield (
        f"{len(found.tensors):,} of {found.compared:,} compared tensors differ: largest {largest:.3e}, rms over all "
        f"{found.numbers:,} numbers {found.rms:.3e}"
    )
