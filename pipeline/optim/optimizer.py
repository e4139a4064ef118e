"""LAMB, AdamW and Muon over shards, with per-tensor norms from fragments and one all-reduce for each call of `step`.

Each rank sums the squares of the fragments that it holds in float64, one all-reduce sums these over the ranks, and
every rank scales its fragments by the same ratios. The scheme follows DistributedFusedLAMB of apex, which also reduces
one vector of sums. The update of the matrices by Muon is in `pipeline.optim.matrices`."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from pipeline.kernels.lamb.backends import choose
from pipeline.kernels.lamb.interface import Coefficients, LambKernel, Partition, State
from pipeline.optim.exchange import ALONE, Ranks
from pipeline.optim.lamb import OptimizerConfig, coefficients, takes_ratio, trust_ratios
from pipeline.optim.matrices import MatrixSet, matrix_sets
from pipeline.optim.norms import sum_of_squares
from pipeline.optim.shards import Shard, Stacks, cut_at_stacks

ShardUpdate = tuple[Shard, State, Partition, Coefficients]
"""Arguments of a kernel for the update of one shard."""
CLIP_EPS = 1e-6
"""Added to the norm that gradients are divided by, as DeepSpeed and torch do."""


class ShardedOptimizer(Optimizer):
    """LAMB, AdamW and Muon, with results that do not depend on the partition of the parameters.

    Until `bind` is called, `step` does nothing: while it initialises stage 0, DeepSpeed calls `step` of a client
    optimizer once with zero gradients, which would apply weight decay before training.

    `step` may be called with parameters in some of the groups only, as ZeRO does (one call per group or sub-group); all
    ranks must make the same calls. A call performs one all-reduce of two float64 numbers for each tensor with a trust
    ratio in these groups, and none if there is no such tensor (AdamW; biases and LayerNorm). Shards with `muon` need
    two all-to-alls.

    Moments and step count are in torch's `state`, so that `state_dict` and `load_state_dict` are complete. Of the
    values of the groups only `lr` is read; the others, which a checkpoint loader may overwrite, have no effect.
    """

    def __init__(self, groups: list[dict[str, Any]], config: OptimizerConfig, *, clips: bool = False) -> None:
        """Args:
        groups: torch parameter groups.
        config: hyper-parameters; `lr` of each group may be changed between steps.
        clips: whether `step` receives all gradients in one call and measures them; otherwise the caller calls
            `measure` before the calls of a step, or clips the gradients itself.
        """
        super().__init__(groups, {"lr": config.lr})
        self.config = config
        self.clips = clips
        self.shards: list[Shard] = []
        self.loss_scale = 1.0
        """Factor that the gradients contain, of which `measure` and the kernels free them."""
        self.overflow = False
        """Whether a gradient of the last step was infinite or NaN; set by `measure`."""
        self.grad_norm = 0.0
        """Norm of all gradients of the last step, without the loss scale and before clipping; set by `measure`."""
        self._grad_scale = 1.0
        """Factor that clips the gradients of the step and removes the loss scale; the kernels apply it as they read
        them."""
        self._by_param: dict[int, Shard] = {}
        self._units: dict[int, tuple[tuple[str, ...], Partition]] = {}
        self._all_reduce: Callable[[Tensor], Any] | None = None
        self._kernel: LambKernel
        self._ratios: dict[int, Tensor] = {}
        self._matrices: list[MatrixSet] = []

    def bind(
        self,
        shards: list[Shard],
        all_reduce: Callable[[Tensor], Any],
        stacks: Stacks = lambda name: 1,
        ranks: Ranks = ALONE,
    ) -> None:
        """Describe the tensors in the parameter groups, and enable `step`.

        Args:
            shards: one for each tensor that the groups contain when `step` is called.
            all_reduce: sums a tensor over the ranks that share the shards, in place.
            stacks: number of tensors that a parameter stacks; LAMB and Muon update each separately.
            ranks: the same ranks, for the exchange of matrices by Muon.

        Raises:
            ValueError: the configured backend cannot run here, or the shards of Muon are not whole matrices.
        """
        self._kernel = choose(self.config.backend, shards[0].param.device, bias_correction=self.config.bias_correction)
        self.shards = shards
        self._by_param = {id(shard.param): shard for shard in shards}
        self._units = {id(shard): cut_at_stacks(shard, stacks) for shard in shards}
        self._matrices = matrix_sets(shards, stacks, ranks)
        self._all_reduce = all_reduce
        for shard in shards:
            self.state[shard.param] = shard.init_state()

    def set_lr(self, lr: float) -> None:
        """Set the learning rate of every group."""
        for group in self.param_groups:
            group["lr"] = lr

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state as `torch.optim.Optimizer` does, and pass it to the shards."""
        super().load_state_dict(state_dict)
        for shard in self.shards:
            shard.state = self.state[shard.param]
            shard.init_state()  # needed if the checkpoint has no moments

    @property
    def last_ratios(self) -> dict[str, Tensor]:
        """Trust ratios of the last step by tensor name, as scalar tensors on the device."""
        return {
            name: ratio
            for shard in self.shards
            if id(shard) in self._ratios
            for name, ratio in zip(self._units[id(shard)][0], self._ratios[id(shard)], strict=True)
        }

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update the tensors that are currently in the groups.

        Their `.grad` must be fp32. It is overwritten, and may contain the direction of the step afterwards. If `clips`
        and a gradient is infinite or NaN, the step is skipped and `overflow` is set.

        Raises:
            RuntimeError: a tensor has no gradient.
        """
        if self._all_reduce is None or (self.clips and not self._clip()):
            return
        scaled: list[ShardUpdate] = []
        rates: dict[int, float] = {}
        for group in self.param_groups:
            for shard in [self._by_param[id(param)] for param in group["params"]]:
                rates[id(shard)] = group["lr"]
                if shard.muon:
                    continue
                update = self._update_of(shard, group["lr"])
                if takes_ratio(self.config, shard.decayed):
                    scaled.append(update)
                else:
                    self._kernel.adam(*update[1:])
        for matrices in self._matrices:
            if id(matrices.shards[0]) in rates:
                matrices.update(self.config, rates[id(matrices.shards[0])], self._grad_scale)
        if not scaled:
            return
        sums = self._reduce([self._kernel.moments(*update[1:]) for update in scaled], scaled[0][0].replicated)
        for update, sums_of_shard in zip(scaled, sums, strict=True):
            ratios = trust_ratios(*sums_of_shard.unbind(1))
            self._ratios[id(update[0])] = ratios
            self._kernel.apply(*update[1:], ratios)

    def measure(self, gradients: Sequence[Tensor]) -> None:
        """Compute the norm of all gradients, and the factor by which the updates of the present step scale them.

        All ranks call it together. It reads each gradient once and one number back from the device. The norm also
        shows whether a gradient is infinite or NaN, since the sum of its squares is then.

        Args:
            gradients: the gradients that this rank holds, contiguous and fp32. Padding among them must be 0.
        """
        squares = sum_of_squares(gradients) if gradients else torch.zeros((), dtype=torch.float64)
        if not self.shards[0].replicated:
            assert self._all_reduce is not None, "measure is called after bind"
            squares = squares.to(self.shards[0].param.device)
            self._all_reduce(squares)
        self.grad_norm = float(squares.sqrt()) / self.loss_scale
        self.overflow = not math.isfinite(self.grad_norm)
        most, norm = self.config.max_grad_norm, self.grad_norm + CLIP_EPS
        self._grad_scale = (most / norm if most and norm > most else 1.0) / self.loss_scale

    def _clip(self) -> bool:
        """Measure the gradients of all shards; returns False if one is infinite or NaN."""
        self.measure([shard.gradient[run] for shard in self.shards for run in shard.runs])
        return not self.overflow

    def _update_of(self, shard: Shard, lr: float) -> ShardUpdate:
        state = shard.state
        tensors = State(shard.flat, shard.gradient, state["exp_avg"], state["exp_avg_sq"], shard.model)
        state["step"] += 1
        numbers = coefficients(self.config, lr=lr, step=state["step"], decayed=shard.decayed)
        return shard, tensors, self._units[id(shard)][1], numbers._replace(grad_scale=self._grad_scale)

    def _reduce(self, sums: list[Tensor], replicated: bool) -> list[Tensor]:
        """Sum the tensors (k, 2) over the ranks by one all-reduce, also if this rank holds only padding."""
        if replicated:
            return sums
        together = torch.cat(sums)  # (K, 2)
        assert self._all_reduce is not None, "step returns before this when unbound"
        self._all_reduce(together)
        return list(together.split([len(part) for part in sums]))
