"""Times of the collectives of a training step between the ranks of a job, without a model.

    torchrun --nproc-per-node 2 -m benchmarks.collectives --elements 109482240

Gradients are reduced in fp32, and under ZeRO the updated weights are gathered in bf16, once per global batch. The times
tell which part of a step with several ranks is communication.
"""

import statistics
import time
import warnings
from collections.abc import Callable
from datetime import timedelta

import torch
import torch.distributed as dist
from jsonargparse import auto_cli

from benchmarks.measuring import processor
from pipeline.runtime import distributed


def times(function: Callable[[], object], rounds: int) -> list[float]:
    """Returns the seconds of each call, which all ranks begin together, after one call to warm up."""
    found = []
    for number in range(rounds + 1):
        dist.barrier()
        begin = time.perf_counter()
        function()
        if number:
            found.append(time.perf_counter() - begin)
    return found


def measure(elements: int, rounds: int) -> dict[str, list[float]]:
    """Returns the seconds of each collective, by its name.

    Args:
        elements: parameters of the model; rounded up to a multiple of the number of ranks.
        rounds: calls of each collective.
    """
    ranks = distributed.world_size()
    part = -(-elements // ranks)
    gradients, reduced = torch.ones(part * ranks), torch.ones(part)
    weights, updated = gradients.bfloat16(), reduced.bfloat16()
    cases: dict[str, Callable[[], object]] = {
        "all-reduce of the gradients, fp32": lambda: dist.all_reduce(gradients),
        "reduce-scatter of the gradients, fp32": lambda: dist.reduce_scatter_tensor(reduced, gradients),
        "all-gather of the weights, bf16": lambda: dist.all_gather_into_tensor(weights, updated),
    }
    return {name: times(function, rounds) for name, function in cases.items()}


def main(elements: int = 11267968, rounds: int = 7) -> None:
    """Measure and print a Markdown table on rank 0.

    Args:
        elements: parameters of the model; rounded up to a multiple of the number of ranks.
        rounds: calls of each collective.
    """
    warnings.filterwarnings("ignore", category=FutureWarning)  # torch renames its collectives
    distributed.join("gloo", timedelta(minutes=10))
    found = measure(elements, rounds)
    if distributed.is_main():
        print(f"| {elements:,} elements, {distributed.world_size()} ranks, gloo | s |\n|---|---|")
        for name, seconds in found.items():
            print(f"| {name} | {statistics.median(seconds):.3f} ({min(seconds):.3f} to {max(seconds):.3f}) |")
        print(f"\n{processor()}")
    distributed.shutdown()


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
