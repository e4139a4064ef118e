"""The optimizer's share of the time of a training step for LAMB, AdamW and Muon: `python -m benchmarks.optimizers`.

The three take turns with the forward and backward pass of a micro-batch, in one process without DeepSpeed, so that
other load on the machine affects all of them. Weights and gradients have the layout of ZeRO."""

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from jsonargparse import auto_cli

from benchmarks.flat import flat_shards
from benchmarks.lamb import MODELS, VOCAB_SIZE, take_turns, tensor_shapes
from pipeline.families.bert import build
from pipeline.families.encoders import decays, is_matrix, stacks
from pipeline.model.probe import uniform_batch
from pipeline.optim import muon
from pipeline.optim.lamb import OptimizerConfig
from pipeline.optim.optimizer import ShardedOptimizer
from pipeline.optim.shards import unstacked

NAMES: tuple[Literal["lamb", "adamw", "muon"], ...] = ("lamb", "adamw", "muon")


def optimizer_step(model: str, name: Literal["lamb", "adamw", "muon"], device: torch.device) -> Callable[[], Any]:
    """A step on random weights and gradients, without clipping."""
    shards = flat_shards(tensor_shapes(model), decays, device, is_matrix if name == "muon" else lambda _: False)
    for shard in shards:
        shard.flat.normal_(std=0.02)
        shard.gradient.normal_(std=1e-3)
    optimizer = ShardedOptimizer([{"params": [shard.param]} for shard in shards], OptimizerConfig(name=name, lr=1e-5))
    optimizer.bind(shards, lambda sums: sums, stacks)
    return optimizer.step


def passes(model: str, micro_batch: int, length: int, masked: int, device: torch.device) -> Callable[[], Any]:
    """Forward and backward pass of a micro-batch."""
    module = build(MODELS[model], VOCAB_SIZE).to(device)
    with device:
        batch = uniform_batch(micro_batch, length, masked)
    return lambda: module(batch).loss.backward()


def orthogonalisation_flops(model: str) -> int:
    """FLOPs of all Newton-Schulz steps of an update."""
    cut = [unstacked(s, stacks) for s in flat_shards(tensor_shapes(model), decays, torch.device("meta"), is_matrix)]
    return sum(muon.work(shape) for shard in cut if shard.muon for shape in shard.shapes)


def main(
    model: Literal["large", "base", "mini"] = "mini",
    micro_batch: int = 64,
    accumulation: int = 2,
    length: int = 128,
    masked: int = 20,
    device: str = "cpu",
    rounds: int = 9,
    out: Path | None = None,
) -> None:
    """Print a table of times and shares.

    Args:
        model: whose tensors and passes.
        micro_batch: samples of a pass.
        accumulation: micro-batches of a step; the default is the global batch of bert_mini on one rank.
        length: tokens of a sample.
        masked: masked tokens of a sample.
        device: torch device.
        rounds: calls behind each median.
        out: JSON file of the results.
    """
    torch.manual_seed(0)
    place = torch.device(device)
    made: dict[str, Callable[[], Any]] = {name: optimizer_step(model, name, place) for name in NAMES}
    both = {"forward and backward": passes(model, micro_batch, length, masked, place)}
    seconds = take_turns(both | made, place, rounds)
    median = {name: statistics.median(times) for name, times in seconds.items()}
    compute = accumulation * median["forward and backward"]
    shares = {name: median[name] / (compute + median[name]) for name in NAMES}
    print("| | ms (median, smallest-largest) | share of a step |\n|---|---|---|")
    for name, times in seconds.items():
        share = f"{100 * shares[name]:.1f} %" if name in shares else f"{accumulation} in a step"
        print(f"| {name} | {1e3 * median[name]:.1f} ({1e3 * min(times):.1f}-{1e3 * max(times):.1f}) | {share} |")
    flops = orthogonalisation_flops(model)
    print(f"Newton-Schulz steps: {flops / 1e9:.1f} GFLOP per update")
    if out:
        results = {"model": model, "ms": {n: 1e3 * s for n, s in median.items()}, "shares": shares, "flops": flops}
        out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
