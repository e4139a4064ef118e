"""LAMB over flat shards: per-tensor norms from fragments, one all-reduce per step call.

ZeRO hands an optimizer flat slices of the concatenated parameters. LAMB needs the norm of whole tensors, so each
rank adds up the squares of the fragments it holds in float64, one all-reduce sums them over the ranks, and
every rank scales its fragments with the same ratios. This module knows no DeepSpeed: `pipeline.optim.zero` describes
the partitions as `Shard`s. A single process is the plain case: one fragment per tensor and nothing to reduce.
The scheme follows apex's DistributedFusedLAMB (fragments into one vector of sums, one all-reduce).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from pipeline.optim.lamb import OptimizerConfig, adam_direction_, takes_ratio, trust_ratios

Parts = Callable[[str], int]
"""Parameter name -> how many tensors, equal in size and stacked along dimension 0, it holds; each has its own ratio."""


class Fragment(NamedTuple):
    """`flat[start:stop]` holds elements `[offset, offset + stop - start)` of tensor number `tensor`."""

    tensor: int
    start: int
    stop: int
    offset: int


@dataclass
class Shard:
    """What one rank holds of a set of tensors: a 1-D master copy and the fragments in it.

    Elements outside every fragment are padding; they are never read into a norm nor written.
    """

    names: tuple[str, ...]
    """Names of all tensors of the set, equal on all ranks, also on one that holds only padding."""
    shapes: tuple[tuple[int, ...], ...]
    """Their full shapes."""
    flat: Tensor
    """(n,) fp32 master weights of this rank, a view of the memory that the optimizer updates."""
    fragments: list[Fragment]
    replicated: bool = False
    """True when every rank holds the whole tensors (ZeRO stage 0): sums must not be added over ranks."""
    state: dict[str, Any] = field(default_factory=dict)
    """exp_avg (n,), exp_avg_sq (n,) and step, filled by `Lamb`."""

    def init_state(self) -> dict[str, Any]:
        """Moments of zero at step 0, unless they exist already."""
        if not self.state:
            self.state.update(exp_avg=torch.zeros_like(self.flat), exp_avg_sq=torch.zeros_like(self.flat), step=0)
        return self.state


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


def cut_at_parts(shard: Shard, parts: Parts) -> tuple[tuple[str, ...], list[Fragment]]:
    """The shard's fragments cut where one stacked tensor ends and the next begins.

    A fused query-key-value weight is three tensors to LAMB, as in the implementations that it is compared with.

    Returns:
        Names of the tensors that take a ratio each (`qkv.weight.0`, ...), and fragments that refer to them.
    """
    names: list[str] = []
    first, sizes = [], []  # of each parameter: number of its first part, elements of a part
    for name, shape in zip(shard.names, shard.shapes, strict=True):
        count = parts(name)
        first.append(len(names))
        sizes.append(torch.Size(shape).numel() // count)
        names += [f"{name}.{part}" for part in range(count)] if count > 1 else [name]
    pieces = []
    for tensor, start, stop, offset in shard.fragments:
        while start < stop:
            part, within = divmod(offset, sizes[tensor])
            length = min(stop - start, sizes[tensor] - within)
            pieces.append(Fragment(first[tensor] + part, start, start + length, within))
            start, offset = start + length, offset + length
    return tuple(names), pieces


def sums_of_squares(flat: Tensor, fragments: Iterable[Fragment], num_tensors: int) -> Tensor:
    """Sum of squares of each tensor's elements in `flat`.

    Args:
        flat: (n,) fp32.
        fragments: the parts of `flat` that belong to tensors; the rest (padding, possibly NaN) is not read.
        num_tensors: k.

    Returns:
        (k,) float64. float64 partial sums keep split and whole norms equal after rounding to float32.
    """
    sums = torch.zeros(num_tensors, dtype=torch.float64, device=flat.device)
    for tensor, start, stop, _ in fragments:
        sums[tensor] += torch.linalg.vector_norm(flat[start:stop], dtype=torch.float64).square()
    return sums


class Lamb(Optimizer):
    """LAMB that is LAMB under any partition of the parameters.

    Until `bind` is called, `step` does nothing: DeepSpeed steps a client optimizer once with zero gradients while it
    sets itself up (stage 0), which would shrink every decayed weight by a factor of (1 - lr) before training.

    `step` may be called with any of the groups filled, as ZeRO does (one call per group or sub-group); all ranks must
    make the same calls, and each costs one all-reduce of 2 * (tensors in the filled groups) float64 numbers.
    """

    def __init__(self, groups: list[dict[str, Any]], config: OptimizerConfig) -> None:
        """Args:
        groups: torch parameter groups; each has `decayed` (bool) beside `params`.
        config: hyper-parameters; `lr` of each group may be changed between steps.
        """
        self.config = config
        for group in groups:
            group["weight_decay"] = config.weight_decay if group["decayed"] else 0.0
            group["takes_ratio"] = takes_ratio(config, group["decayed"])
        super().__init__(groups, {"lr": config.lr})
        self.shards: list[Shard] = []
        self._by_tensor: dict[int, list[Shard]] = {}
        self._units: dict[int, tuple[tuple[str, ...], list[Fragment]]] = {}
        self._all_reduce: Callable[[Tensor], Any] | None = None
        self.last_ratios: dict[str, Tensor] = {}

    def bind(
        self, by_tensor: dict[int, list[Shard]], all_reduce: Callable[[Tensor], Any], parts: Parts = lambda name: 1
    ) -> None:
        """Say what the tensors in the parameter groups hold, and make `step` live.

        Args:
            by_tensor: id of each tensor that a group will hold at step time -> the shard(s) that describe it.
            all_reduce: sums a tensor over the ranks that share the shards, in place.
            parts: which parameters hold several tensors to LAMB.
        """
        self._by_tensor = by_tensor
        self.shards = [shard for shards in by_tensor.values() for shard in shards]
        self._units = {id(shard): cut_at_parts(shard, parts) for shard in self.shards}
        self._all_reduce = all_reduce

    def set_lr(self, lr: float) -> None:
        """Set the learning rate of every group."""
        for group in self.param_groups:
            group["lr"] = lr

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of the tensors that are in the groups now; their `.grad` must be fp32 and already clipped."""
        if self._all_reduce is None:
            return
        work = [
            (group, shard, self._direction(group, shard, param.grad))
            for group in self.param_groups
            for param in group["params"]
            for shard in self._by_tensor[id(param)]
        ]
        ratios = self._ratios([(shard, direction) for group, shard, direction in work if group["takes_ratio"]])
        for group, shard, direction in work:
            names, fragments = self._units[id(shard)]
            for tensor, start, stop, _ in fragments:
                part = direction[start:stop]
                if group["takes_ratio"]:
                    part.mul_(ratios[names[tensor]])
                shard.flat[start:stop].sub_(part, alpha=group["lr"])

    def _direction(self, group: dict[str, Any], shard: Shard, grad: Tensor | None) -> Tensor:
        state = shard.init_state()
        state["step"] += 1
        if grad is None:
            raise RuntimeError(
                f"no gradient for the shard of {shard.names[0]}...: LAMB updates every tensor it is given"
            )
        return adam_direction_(
            shard.flat,
            grad.view(-1),
            state["exp_avg"],
            state["exp_avg_sq"],
            step=state["step"],
            beta1=self.config.beta1,
            beta2=self.config.beta2,
            eps=self.config.eps,
            weight_decay=group["weight_decay"],
        )

    def _ratios(self, work: list[tuple[Shard, Tensor]]) -> dict[str, Tensor]:
        """Trust ratio by tensor name; one all-reduce, also where this rank holds nothing but padding."""
        if not work:
            return {}
        units = [(*self._units[id(shard)], shard.flat, direction) for shard, direction in work]
        sums = torch.cat(
            [sums_of_squares(values, fragments, len(names)) for names, fragments, *both in units for values in both]
        )
        if not work[0][0].replicated:
            assert self._all_reduce is not None, "step returns before this when unbound"
            self._all_reduce(sums)
        ratios: dict[str, Tensor] = {}
        position = 0
        for names, *_ in units:
            k = len(names)
            param_sq, direction_sq = sums[position : position + 2 * k].view(2, k)
            ratios.update(zip(names, trust_ratios(param_sq, direction_sq), strict=True))
            position += 2 * k
        self.last_ratios.update(ratios)
        return ratios


def whole_tensors(tensors: Iterable[tuple[str, Tensor]]) -> dict[int, list[Shard]]:
    """The plain case: each tensor is one shard with one fragment, the same on every rank.

    Args:
        tensors: (name, contiguous fp32 tensor) of everything in the optimizer's groups.
    """
    return {
        id(tensor): [
            Shard(
                names=(name,),
                shapes=(tuple(tensor.shape),),
                flat=tensor.detach().view(-1),
                fragments=[Fragment(0, 0, tensor.numel(), 0)],
                replicated=True,
            )
        ]
        for name, tensor in tensors
    }
