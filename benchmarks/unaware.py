"""`pipeline.pretrain` with an ordinary LAMB, for comparison.

timm's Lamb replaces the optimizer of this project. Under ZeRO it receives flat slices of the parameters and computes
one trust ratio for each slice, which is a different algorithm.
"""

from collections.abc import Callable
from typing import Any

import deepspeed
from torch import Tensor

import pipeline.engine.engine
from benchmarks.oracles import timm_lamb
from pipeline.engine.partitions import Binding
from pipeline.optim.exchange import Ranks
from pipeline.optim.lamb import OptimizerConfig
from pipeline.optim.shards import Shard, Stacks
from pipeline.pretrain import pretrain
from pipeline.runtime import command

TimmLamb = timm_lamb()


class OrdinaryLamb(TimmLamb):  # type: ignore[misc,valid-type]
    """timm's Lamb, with what `pipeline.engine.engine` asks of an optimizer."""

    def __init__(self, groups: list[dict[str, Any]], config: OptimizerConfig, *, clips: bool = False) -> None:
        assert not clips, "under ZeRO-2, where DeepSpeed clips"
        weight_decays = (config.weight_decay if group["decayed"] else 0.0 for group in groups)
        super().__init__(
            [group | {"weight_decay": decay} for group, decay in zip(groups, weight_decays, strict=True)],
            lr=config.lr,
            betas=(config.beta1, config.beta2),
            eps=config.eps,
            max_grad_norm=None,  # DeepSpeed clips
        )
        self.config, self.overflow, self.clips = config, False, False
        self.shards: list[Shard] = []

    def set_lr(self, lr: float) -> None:
        """Set the learning rate of every group."""
        for group in self.param_groups:
            group["lr"] = lr


def bind_nothing(
    engine: deepspeed.DeepSpeedEngine,
    optimizer: OrdinaryLamb,
    all_reduce: Callable[[Tensor], Any],
    stacks: Stacks,
    ranks: Ranks,
) -> Binding:
    """Do not describe the slices to the optimizer, and let DeepSpeed clip."""
    engine.optimizer.clip_grad = optimizer.config.max_grad_norm
    return Binding([], model_part=lambda name, fragment: engine.module.get_parameter(name), push=lambda: None)


if __name__ == "__main__":
    pipeline.engine.engine.ShardedOptimizer = OrdinaryLamb  # type: ignore[misc]
    pipeline.engine.engine.bind = bind_nothing  # type: ignore[assignment]
    pipeline.engine.engine.remove_passes = lambda engine, optimizer: None
    command.main(pretrain)
