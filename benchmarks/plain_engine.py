"""A training step on one device without DeepSpeed, which `benchmarks/gpu` and `engine_overhead` measure."""

import torch
from torch import Tensor

from benchmarks.flat import flat_shards, tensors_of
from pipeline.data.batch import Batch
from pipeline.families.bert import BertConfig, build
from pipeline.families.encoders import decays, stacks
from pipeline.optim.lamb import OptimizerConfig
from pipeline.optim.optimizer import ShardedOptimizer


class PlainEngine:
    """A model in low precision, fp32 master weights, clipping and LAMB, laid out as ZeRO does on one rank.

    The model's parameters and gradients are views of one flat buffer per group, so the update writes the model's
    weights itself and nothing is copied tensor by tensor. The gradients are read once for their norm.
    """

    def __init__(self, config: BertConfig, vocab_size: int, device: torch.device, dtype: torch.dtype) -> None:
        torch.manual_seed(0)
        self.model = build(config, vocab_size).to(device)
        named = dict(self.model.named_parameters())
        shards = flat_shards({name: p.shape for name, p in named.items()}, decays, device)
        self.masters = [shard.param for shard in shards]
        self.gradients: list[Tensor] = []  # (n,) of each group, in `dtype`
        for shard in shards:
            flat = torch.zeros_like(shard.flat, dtype=dtype)
            if dtype != torch.float32:
                shard.model = flat
            else:  # the model computes with the master weights themselves
                flat = shard.flat
            self.gradients.append(torch.zeros_like(flat))
            views, gradients = tensors_of(shard, flat), tensors_of(shard, self.gradients[-1])
            for name, master in tensors_of(shard, shard.flat).items():
                master.copy_(named[name].detach())
                views[name].copy_(master)
                named[name].data, named[name].grad = views[name], None
                named[name].grad = gradients[name]
            if dtype == torch.float32:  # the update takes them from there
                shard.param.grad = self.gradients[-1]
        groups = [{"params": [shard.param]} for shard in shards]
        self.optimizer = ShardedOptimizer(groups, OptimizerConfig(lr=1e-3), clips=True)
        self.optimizer.bind(shards, lambda sums: sums, stacks)

    def step(self, batch: Batch) -> Tensor:
        """Perform one update, and return the loss as a tensor on the device."""
        loss = self.model(batch).loss
        loss.backward()
        for master, gradient in zip(self.masters, self.gradients, strict=True):
            assert master.grad is not None, "flat_shards gives gradients"
            if master.grad is not gradient:
                master.grad.copy_(gradient)
        self.optimizer.step()
        for gradient in self.gradients:
            gradient.zero_()
        return loss.detach()
