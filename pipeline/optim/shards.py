"""The pieces of tensors that a rank holds.

ZeRO hands an optimizer flat slices of the concatenated parameters. LAMB needs the norms of whole tensors, and Muon
whole matrices, so the layout must be known: a `Shard` is one flat slice with the fragments in it. This module knows no
DeepSpeed: `pipeline.engine.partitions` describes its partitions as shards, `pipeline.optim.optimizer` updates them. A
single process has one shard per tensor and one fragment per shard."""

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pipeline.kernels.lamb.interface import Partition, Piece

Stacks = Callable[[str], int]
"""Parameter name -> number of equally large tensors that it stacks along dimension 0; each is updated as one."""


class Fragment(NamedTuple):
    """`flat[start:stop]` holds elements `[offset, offset + stop - start)` of tensor number `tensor`."""

    tensor: int
    start: int
    stop: int
    offset: int


@dataclass
class Shard:
    """One rank's piece of a set of tensors: a 1-D master copy and the fragments in it.

    Elements outside every fragment are padding; they are never read into a norm nor written.
    """

    names: tuple[str, ...]
    """Names of all tensors of the set, equal on all ranks, also on one that holds only padding."""
    shapes: tuple[tuple[int, ...], ...]
    """Shapes of the whole tensors."""
    param: Tensor
    """The fp32 tensor that the optimizer's groups hold at step time."""
    fragments: list[Fragment]
    decayed: bool
    """Whether these tensors take weight decay: weights do, biases and LayerNorm do not."""
    replicated: bool = False
    """True when every rank holds the whole tensors (ZeRO stage 0): sums must not be added over ranks."""
    muon: bool = False
    """Whether Muon updates the tensors, which are matrices then and have no second moment."""
    frozen: bool = False
    """Whether the tensors are not trained: they have no moments, and only checkpoints know them."""
    model: Tensor | None = None
    """(n,) the model's own bf16 or fp16 weights in the order of `flat`, written with each update; None where another
    copies them (DeepSpeed does)."""
    state: dict[str, Any] = field(default_factory=dict)
    """exp_avg (n,), exp_avg_sq (n,) unless Muon updates the tensors, and step: what torch keeps as the optimizer's
    state of `param`."""
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
            raise RuntimeError(f"no gradient for the shard of {self.names[0]}...: every tensor given is updated")
        return self.param.grad.view(-1)

    @property
    def runs(self) -> list[slice]:
        """The parts of `flat` that hold fragments, as few as there can be."""
        runs: list[slice] = []
        for _, start, stop, _ in self.fragments:
            if runs and runs[-1].stop == start:
                runs[-1] = slice(runs[-1].start, stop)
            else:
                runs.append(slice(start, stop))
        return runs

    def init_state(self) -> dict[str, Any]:
        """Moments of zero at step 0, unless they exist already or the tensors are frozen."""
        if not self.state and not self.frozen:
            parts = ("exp_avg",) if self.muon else ("exp_avg", "exp_avg_sq")
            self.state.update({part: torch.zeros_like(self.flat) for part in parts} | {"step": 0})
        return self.state

    @property
    def moments(self) -> dict[str, Tensor]:
        """exp_avg and, unless Muon updates the tensors, exp_avg_sq, (n,) each; none of frozen tensors."""
        return {name: values for name, values in self.init_state().items() if name != "step"}

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All that a checkpoint holds of the shard, (n,) each, by part: weight, moments and the average, if any."""
        averages = {} if self.average is None else {"average": self.average}
        return {"weight": self.flat, **self.moments, **averages}


def fragments_of_partition(
    sizes: Sequence[int], offsets: Sequence[int], partition_start: int, partition_size: int
) -> list[Fragment]:
    """Cut a partition out of a flat buffer into its fragments.

    Args:
        sizes: number of elements of each tensor.
        offsets: where each tensor starts in the whole flat buffer (increasing; gaps are padding).
        partition_start: first element of the partition in the buffer.
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
    """The shard with each stacked tensor as a tensor of its own, and its fragments cut where one ends.

    A fused query-key-value weight is three tensors to LAMB and Muon, as in the implementations that they are compared
    with; their names are `qkv.weight.0`, ...
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
    """The shard's fragments as the kernels take them, cut where one stacked tensor ends and the next begins.

    Returns:
        Names of the tensors that take a ratio each (`qkv.weight.0`, ...), and the pieces that refer to them.
    """
    cut = unstacked(shard, stacks)
    return cut.names, Partition([Piece(*fragment[:3]) for fragment in cut.fragments], len(cut.names))


def whole_tensors(tensors: Iterable[tuple[str, Tensor, bool]], muon: Container[str] = ()) -> list[Shard]:
    """Shards of unpartitioned tensors: one shard with one fragment for each, the same on every rank.

    Args:
        tensors: (name, contiguous fp32 tensor, whether it takes weight decay) of all in the optimizer's groups.
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
