"""Shards, which describe the parts of the parameters that a rank holds.

ZeRO passes an optimizer flat slices of the concatenated parameters. LAMB needs the norms of whole tensors, and Muon
needs whole matrices, so that their layout must be known. A `Shard` is one flat slice with the fragments of tensors in
it. This module does not depend on DeepSpeed: `pipeline.engine.partitions` describes the partitions of DeepSpeed as
shards, and `pipeline.optim.optimizer` updates them. A single process has one shard with one fragment per tensor."""

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pipeline.kernels.lamb.interface import Partition, Piece

Stacks = Callable[[str], int]
"""Maps a parameter name to the number of equally large tensors that the parameter stacks along dimension 0, each of
which is updated separately."""


class Fragment(NamedTuple):
    """`flat[start:stop]` holds elements `[offset, offset + stop - start)` of tensor number `tensor`."""

    tensor: int
    start: int
    stop: int
    offset: int


@dataclass
class Shard:
    """The part of a set of tensors that one rank holds: flat master weights and the fragments in them.

    Elements outside every fragment are padding, which is neither written nor included in a norm.
    """

    names: tuple[str, ...]
    """Names of all tensors of the set, which are equal on all ranks, also on a rank that holds only padding."""
    shapes: tuple[tuple[int, ...], ...]
    """Shapes of the whole tensors."""
    param: Tensor
    """The fp32 tensor that the groups of the optimizer contain when `step` is called."""
    fragments: list[Fragment]
    """The fragments in `flat`, in the order of their tensors."""
    decayed: bool
    """Whether weight decay applies to these tensors; it does to weights, and not to biases and LayerNorm."""
    replicated: bool = False
    """Whether every rank holds the whole tensors (ZeRO stage 0), so that sums must not be added over the ranks."""
    muon: bool = False
    """Whether Muon updates the tensors, which are matrices then and have no second moment."""
    frozen: bool = False
    """Whether the tensors are not trained; they have no moments, and are used by checkpoints only."""
    model: Tensor | None = None
    """(n,) bf16 or fp16 weights of the model in the order of `flat`, which each update writes; None if the caller
    copies them, as DeepSpeed does under ZeRO 2 and 3."""
    state: dict[str, Any] = field(default_factory=dict)
    """The state of `param` in the torch optimizer: exp_avg (n,), exp_avg_sq (n,) unless Muon updates the tensors, and
    step."""
    average: Tensor | None = None
    """(n,) fp32 average of the weights over the last steps (`pipeline.optim.averaging`); None before it begins."""

    @property
    def flat(self) -> Tensor:
        """(n,) fp32 master weights of this rank, a view of `param`."""
        return self.param.detach().view(-1)

    @property
    def gradient(self) -> Tensor:
        """(n,) gradient of `flat`.

        Raises:
            RuntimeError: there is none.
        """
        if self.param.grad is None:
            raise RuntimeError(f"no gradient for the shard of {self.names[0]}: set param.grad before each step")
        return self.param.grad.view(-1)

    @property
    def runs(self) -> list[slice]:
        """The parts of `flat` that contain fragments; adjacent fragments share one part."""
        runs: list[slice] = []
        for _, start, stop, _ in self.fragments:
            if runs and runs[-1].stop == start:
                runs[-1] = slice(runs[-1].start, stop)
            else:
                runs.append(slice(start, stop))
        return runs

    def init_state(self) -> dict[str, Any]:
        """Create moments of zero at step 0 unless they exist or the tensors are frozen, and return the state."""
        if not self.state and not self.frozen:
            parts = ("exp_avg",) if self.muon else ("exp_avg", "exp_avg_sq")
            self.state.update({part: torch.zeros_like(self.flat) for part in parts} | {"step": 0})
        return self.state

    @property
    def moments(self) -> dict[str, Tensor]:
        """The moments, (n,) each: exp_avg and, unless Muon updates the tensors, exp_avg_sq; frozen ones have none."""
        return {name: values for name, values in self.init_state().items() if name != "step"}

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors of the shard in a checkpoint, (n,) each, by name: weight, moments, and the average if any."""
        averages = {} if self.average is None else {"average": self.average}
        return {"weight": self.flat, **self.moments, **averages}


def fragments_of_partition(
    sizes: Sequence[int], offsets: Sequence[int], partition_start: int, partition_size: int
) -> list[Fragment]:
    """The fragments of tensors in a partition of a flat buffer.

    Args:
        sizes: number of elements of each tensor.
        offsets: index of the first element of each tensor in the whole buffer, in ascending order; gaps are padding.
        partition_start: index of the first element of the partition in the buffer.
        partition_size: number of elements of the partition.
    """
    partition_stop = partition_start + partition_size
    fragments = []
    for tensor, (size, begin) in enumerate(zip(sizes, offsets, strict=True)):
        first, last = max(begin, partition_start), min(begin + size, partition_stop)
        if first < last:
            fragments.append(Fragment(tensor, first - partition_start, last - partition_start, first - begin))
    return fragments


def unstacked(shard: Shard, stacks: Stacks) -> Shard:
    """The shard with each stacked tensor as a separate tensor, and its fragments split where a tensor ends.

    LAMB and Muon treat a fused query-key-value weight as three tensors, as the reference implementations do; their
    names are `qkv.weight.0` to `qkv.weight.2`.
    """
    names: list[str] = []
    shapes: list[tuple[int, ...]] = []
    first, sizes = [], []  # of each parameter: number of its first stacked tensor, elements of each
    for name, shape in zip(shard.names, shard.shapes, strict=True):
        count = stacks(name)
        first.append(len(names))
        sizes.append(torch.Size(shape).numel() // count)
        names += [f"{name}.{number}" for number in range(count)] if count > 1 else [name]
        shapes += [(shape[0] // count, *shape[1:])] * count if count > 1 else [shape]
    fragments = []
    for tensor, start, stop, offset in shard.fragments:
        while start < stop:
            number, within = divmod(offset, sizes[tensor])
            length = min(stop - start, sizes[tensor] - within)
            fragments.append(Fragment(first[tensor] + number, start, start + length, within))
            start, offset = start + length, offset + length
    return replace(shard, names=tuple(names), shapes=tuple(shapes), fragments=fragments)


def cut_at_stacks(shard: Shard, stacks: Stacks) -> tuple[tuple[str, ...], Partition]:
    """The fragments of a shard as a partition for the kernels, split where one stacked tensor ends and the next begins.

    Returns:
        The names of the tensors (`qkv.weight.0`, ...), and the pieces that refer to them.
    """
    cut = unstacked(shard, stacks)
    return cut.names, Partition([Piece(*fragment[:3]) for fragment in cut.fragments], len(cut.names))


def whole_tensors(tensors: Iterable[tuple[str, Tensor, bool]], muon: Container[str] = ()) -> list[Shard]:
    """Shards of unpartitioned tensors: each has one shard with one fragment, which is the same on every rank.

    Args:
        tensors: (name, contiguous fp32 tensor, whether weight decay applies) of each tensor in the optimizer's groups.
        muon: names of the tensors that Muon updates.
    """
    return [
        Shard(
            (name,),
            (tuple(tensor.shape),),
            tensor,
            [Fragment(0, 0, tensor.numel(), 0)],
            decayed,
            replicated=True,
            muon=name in muon,
        )
        for name, tensor, decayed in tensors
    ]
