"""Time of the optimizer step on the tensors of BERT, compared in one run: `python -m benchmarks.lamb`.

This project's LAMB, timm's LAMB, torch's AdamW and a copy take turns on the same weights and gradients, so that other
load on the machine affects all of them. The bound of this project's LAMB is its least memory traffic, divided by the
bandwidth of the copy. With `--ranks`, the step is also timed inside DeepSpeed under ZeRO-2."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from jsonargparse import auto_cli
from torch import nn

from benchmarks.flat import flat_shards, tensors_of
from benchmarks.oracles import timm_lamb
from pipeline.families.bert import BertConfig, build
from pipeline.families.encoders import decays, stacks
from pipeline.kernels.lamb.backends import Backend
from pipeline.optim.lamb import OptimizerConfig
from pipeline.optim.optimizer import ShardedOptimizer
from pipeline.optim.shards import Shard

MODELS = {
    "large": BertConfig(1024, 24, 16, 4096),
    "base": BertConfig(768, 12, 12, 3072),
    "mini": BertConfig(256, 4, 4, 1024),
}
VOCAB_SIZE = 30_522
LAMB_BYTES, ADAM_BYTES, COPY_BYTES = 40, 28, 8  # per element in fp32; see pipeline/kernels/lamb/interface.py
Side = Callable[[], Any]


def tensor_shapes(model: str) -> dict[str, tuple[int, ...]]:
    """Parameter name -> shape."""
    with torch.device("meta"):
        return {name: tuple(p.shape) for name, p in build(MODELS[model], VOCAB_SIZE).named_parameters()}


def ours(shards: list[Shard], backend: Backend, name: Literal["lamb", "adamw"] = "lamb") -> Side:
    """A step of this project's optimizer on these shards."""
    config = OptimizerConfig(name=name, lr=1e-5, backend=backend)
    optimizer = ShardedOptimizer([{"params": [shard.param]} for shard in shards], config)
    optimizer.bind(shards, lambda sums: sums, stacks)
    return optimizer.step


def with_own_gradients(shards: list[Shard]) -> list[Shard]:
    """Return the same weights with copies of the gradients, which this project's optimizer overwrites."""
    copies = [replace(shard, param=nn.Parameter(shard.flat)) for shard in shards]
    for copy, shard in zip(copies, shards, strict=True):
        assert shard.param.grad is not None, "flat_shards gives gradients"
        copy.param.grad = shard.param.grad.clone()
    return copies


def theirs(shards: list[Shard], make: Callable[[list[dict[str, Any]]], torch.optim.Optimizer]) -> Side:
    """A step of another optimizer, on views of the same weights and gradients."""
    groups = []
    for shard in shards:
        assert shard.param.grad is not None, "flat_shards gives gradients"
        grads = tensors_of(shard, shard.param.grad)
        parameters = {name: nn.Parameter(view) for name, view in tensors_of(shard, shard.flat).items()}
        for name, parameter in parameters.items():
            parameter.grad = grads[name]
        groups.append({"params": list(parameters.values()), "weight_decay": 0.01 if shard.decayed else 0.0})
    return make(groups).step


def sides(shards: list[Shard], device: torch.device, backend: Backend) -> dict[str, Side]:
    """Return the timed optimizers by name. All variants of this project's LAMB share their moments."""
    adamw, mine = torch.optim.AdamW, with_own_gradients(shards)
    largest = max((shard.flat for shard in shards), key=len)
    copy = torch.empty_like(largest)
    timed = {
        "ours": ours(mine, backend),
        "ours, AdamW": ours(mine, backend, "adamw"),
        "ours, plain torch": ours(mine, "plain"),
        "AdamW foreach": theirs(shards, lambda groups: adamw(groups, lr=1e-5, foreach=True)),
        "AdamW fused": theirs(shards, lambda groups: adamw(groups, lr=1e-5, fused=True)),
        "copy": lambda: copy.copy_(largest),
        "read and write in place": lambda: largest.mul_(1.0),
    }
    try:
        timed["timm Lamb"] = theirs(shards, lambda groups: timm_lamb()(groups, lr=1e-5, max_grad_norm=None))
    except ImportError as error:
        print(f"timm Lamb is left out: {error}", file=sys.stderr)
    return timed


def take_turns(timed: dict[str, Side], device: torch.device, rounds: int) -> dict[str, list[float]]:
    """Seconds of each side in each of `rounds` rounds, after one round of warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for number in range(rounds + 1):
        for name, step in timed.items():
            synchronize(device)
            begin = time.perf_counter()
            step()
            synchronize(device)
            if number:
                seconds[name].append(time.perf_counter() - begin)
    return seconds


def synchronize(device: torch.device) -> None:
    """Wait for the device, so that a host clock can be read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(model: str, device: torch.device, rounds: int, backend: Backend = "auto") -> dict[str, Any]:
    """Medians in milliseconds, and ratios of them.

    Returns:
        `ms` and `spread` (smallest, largest) by side; `gigabytes_per_second`, `bound_ms` and `ours_over_bound` by
        yardstick: a copy, and a sweep in place, which spares a CPU from fetching what it overwrites; `times_ours`.
    """
    torch.manual_seed(0)
    shards = flat_shards(tensor_shapes(model), decays, device)
    for shard in shards:
        shard.flat.normal_(std=0.02)
        assert shard.param.grad is not None, "flat_shards gives gradients"
        shard.param.grad.normal_(std=1e-3)
    seconds = take_turns(sides(shards, device, backend), device, rounds)
    median = {name: statistics.median(times) for name, times in seconds.items()}
    moved = sum(len(shard.flat) * (LAMB_BYTES if shard.decayed else ADAM_BYTES) for shard in shards)
    swept = COPY_BYTES * max(len(shard.flat) for shard in shards)  # read and written by each of the two yardsticks
    yardsticks = ("copy", "read and write in place")
    bounds = {name: moved / swept * median[name] for name in yardsticks}
    return {
        "model": model,
        "elements": sum(len(shard.flat) for shard in shards),
        "ms": {name: 1e3 * value for name, value in median.items()},
        "spread": {name: [1e3 * min(times), 1e3 * max(times)] for name, times in seconds.items()},
        "gigabytes_per_second": {name: swept / median[name] / 1e9 for name in yardsticks},
        "bound_ms": {name: 1e3 * bound for name, bound in bounds.items()},
        "ours_over_bound": {name: median["ours"] / bound for name, bound in bounds.items()},
        "times_ours": {name: value / median["ours"] for name, value in median.items() if name not in yardsticks},
    }


def measure_zero(model: str, ranks: int, rounds: int) -> dict[str, Any]:
    """The step inside DeepSpeed under ZeRO-2 on this many ranks: `benchmarks.lamb_zero`, in processes of its own."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks)]
    command += ["-m", "benchmarks.lamb_zero", "--model", model, "--rounds", str(rounds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"error: ZeRO-2 on {ranks} ranks failed\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def table(result: dict[str, Any]) -> str:
    """The figures of `measure` as Markdown."""
    lines = ["| | ms (median, smallest-largest) | ours is |", "|---|---|---|"]
    for name, value in result["ms"].items():
        low, high = result["spread"][name]
        factor = f"{result['times_ours'][name]:.2f}x as fast" if result["times_ours"].get(name, 1) != 1 else ""
        lines.append(f"| {name} | {value:.1f} ({low:.1f}-{high:.1f}) | {factor} |")
    for name, bound in result["bound_ms"].items():
        speed, factor = result["gigabytes_per_second"][name], 1 / result["ours_over_bound"][name]
        lines.append(f"| the bytes alone at {speed:.1f} GB/s ({name}) | {bound:.1f} | {factor:.2f}x as fast |")
    return "\n".join(lines)


def main(
    model: Literal["large", "base", "mini"] = "large",
    device: str = "cpu",
    backend: Backend = "auto",
    rounds: int = 9,
    ranks: list[int] | None = None,
    out: Path | None = None,
) -> None:
    """Time the optimizer step.

    Args:
        model: whose tensors.
        device: torch device.
        backend: kernel of ours.
        rounds: calls behind each median.
        ranks: also inside DeepSpeed's ZeRO-2 on these numbers of ranks.
        out: JSON file of the results.
    """
    zero2 = [measure_zero(model, number, rounds) for number in ranks or []]  # before the others fill the memory
    for figures in zero2:
        print(json.dumps(figures))
    result = measure(model, torch.device(device), rounds, backend) | {"zero2": zero2}
    print(table(result))
    if out:
        out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
