"""The engine without DeepSpeed's avoidable passes computes the same bits, and moves the stated number of bytes."""

from unittest.mock import patch

import pytest
import torch
import zero_cases
from ranks import on_ranks
from traffic import Traffic

BF16, FP16 = {"bf16": {"enabled": True}}, {"fp16": {"enabled": True, "initial_scale_power": 8}}
PRECISIONS = {"fp32": {}, "bf16": BF16, "fp16": FP16}
CASES = [(0, "fp32"), (0, "bf16"), (0, "fp16"), (1, "fp32"), (1, "bf16"), (1, "fp16"), (2, "fp32"), (2, "bf16")]


class Sometimes(torch.nn.Module):
    """The toy, and a parameter that has a gradient in every other step only."""

    def __init__(self):
        super().__init__()
        self.toy = zero_cases.toy()
        self.extra = torch.nn.Parameter(torch.ones(5))

    def forward(self, batch):
        ids, number = batch
        logits = self.toy(ids)
        return logits * self.extra.prod() if number % 2 else logits


def build(model, device, stage, precision, accumulation):
    """Return an engine without clipping."""
    from pipeline.engine.engine import EngineConfig, build, read_settings
    from pipeline.optim.lamb import OptimizerConfig
    from pipeline.optim.parameters import Parameters

    zero_cases.allow_fp16_on_a_cpu()
    with zero_cases.json_file({"zero_optimization": {"stage": stage}} | PRECISIONS[precision]) as path:
        return build(
            model,
            Parameters(lambda name: not zero_cases.no_weight_decay(name)),
            OptimizerConfig(max_grad_norm=0.0),
            read_settings(EngineConfig(deepspeed=path)),
            device=device,
            micro_batch_size=1,
            accumulation_steps=accumulation,
        )


def reduce_own_part_only(flat):
    """Sum a tensor over the ranks, and leave NaN in the parts that belong to others, as a reduce-scatter may."""
    from pipeline.runtime import distributed

    distributed.all_reduce_sum_(flat)
    for number, part in enumerate(flat.chunk(distributed.world_size())):
        if number != distributed.rank():
            part.fill_(torch.nan)


def trained(cases):
    """Return masters, moments and model weights after five steps, with and without DeepSpeed's passes."""
    from pipeline.engine.engine import EngineConfig, start
    from pipeline.runtime import distributed

    device, results = start(EngineConfig()), {}
    for case in cases:
        results[case] = []
        for replaced in ("pipeline.engine.engine.remove_passes", "pipeline.runtime.distributed.reduce_scatter_sum_"):
            by_itself = replaced.endswith("passes")
            with patch(replaced, (lambda engine, optimizer: None) if by_itself else reduce_own_part_only):
                engine = build(Sometimes(), device, *case, accumulation=2)
                for step in range(1, 6):
                    for ids in zero_cases.samples(step).view(2, 2, -1, zero_cases.LENGTH)[distributed.rank()]:
                        logits = engine.forward((ids, step))
                        engine.backward(zero_cases.loss_sum(logits, ids) / zero_cases.GLOBAL_BATCH)
                        engine.step(0.02)
            parts = [(shard.tensors.values(), f) for shard in engine.shards for f in shard.fragments]
            tensors = [values[f.start : f.stop].clone() for tensors, f in parts for values in tensors]
            results[case].append((tensors, [p.detach().clone() for p in engine.module.parameters()]))
    distributed.shutdown()
    return results


def test_no_bit_changes():
    """On two ranks, without clipping, masters, moments and model weights equal those of DeepSpeed's own passes.

    A parameter without a gradient in some steps has a gradient of 0 there, and what a reduce-scatter leaves undefined
    is not read.
    """
    for results in on_ranks(trained, 2, CASES):
        for case, (theirs, ours) in results.items():
            for expected, found in zip(theirs, ours, strict=True):
                assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True)), case


ELEMENTS = 1 << 16


class Flat(torch.nn.Module):
    """Four tensors in two groups, whose gradients are given."""

    def __init__(self):
        super().__init__()
        for name in ("weight", "other_weight", "bias", "other_bias"):
            self.register_parameter(name, torch.nn.Parameter(torch.ones(ELEMENTS // 4)))

    def forward(self):
        return sum((weight * 1e-3).sum(dtype=torch.float32) for weight in self.parameters())


def counted(cases):
    """Return the bytes per parameter of a micro-batch and an update, beside forward pass, backward pass and kernels."""
    from pipeline.engine.engine import EngineConfig, start
    from pipeline.runtime import distributed

    device, results = start(EngineConfig()), {}
    for stage, precision in cases:
        results[stage, precision] = []
        for by_itself in (True, False):
            with patch("pipeline.engine.engine.remove_passes", lambda *_: None) if by_itself else patch.dict({}):
                engine = build(Flat(), device, stage, precision, accumulation=1)
            if by_itself and hasattr(engine.deepspeed.optimizer, "clip_grad"):
                engine.deepspeed.optimizer.clip_grad = 1.0
            engine.optimizer._kernel = Free()
            model = Flat().to(next(engine.module.parameters()).dtype)
            for _ in range(2):
                with Traffic() as whole:
                    engine.backward(engine.deepspeed())
                    engine.step(0.0)
                with Traffic() as model_alone:
                    model.zero_grad()
                    model().backward()
            results[stage, precision].append((whole.bytes - model_alone.bytes) / ELEMENTS)
    distributed.shutdown()
    return results


class Free:
    """A kernel that moves no bytes."""

    def moments(self, state, partition, numbers):
        return torch.ones(partition.num_tensors, 2, dtype=torch.float64)

    def apply(self, state, partition, numbers, ratios=None):
        """Do nothing."""

    adam = apply


BYTES = {
    1: {
        (0, "fp32"): (20, 4),
        (0, "bf16"): (64, 10),
        (0, "fp16"): (64, 16),
        (1, "fp32"): (60, 20),
        (1, "bf16"): (56, 10),
        (1, "fp16"): (88, 24),
        (2, "fp32"): (60, 36),
        (2, "bf16"): (84, 52),
    },
    2: {
        (0, "fp32"): (20, 12),
        (0, "bf16"): (64, 18),
        (0, "fp16"): (64, 24),
        (1, "fp32"): (42, 14),
        (1, "bf16"): (51, 8),
        (1, "fp16"): (55, 19),
        (2, "fp32"): (42, 30),
        (2, "bf16"): (52, 36),
    },
}
"""Ranks -> stage, precision -> bytes per parameter of DeepSpeed's own passes, and of those that remain."""


@pytest.mark.parametrize("ranks", BYTES)
def test_bytes_per_parameter_and_step(ranks):
    """A step of one micro-batch moves as many bytes as docs/benchmarks.md states, without communication and kernels."""
    for found in on_ranks(counted, ranks, CASES):
        for case, expected in BYTES[ranks].items():
            assert found[case] == pytest.approx(expected, abs=0.1), found
