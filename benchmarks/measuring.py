"""Measurement of times, rates and errors for the benchmarks."""

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.runlog.reader import METRICS, read_lines
from pipeline.runtime.processors import cpu_name


def relative_error(value: Tensor, expected: Tensor) -> float:
    """Largest difference, divided by the largest expected value."""
    return float((value.double().cpu() - expected.cpu()).abs().max() / expected.abs().max().cpu())


def seconds(function: Callable[[], Any], device: torch.device, rounds: int) -> float:
    """Median time of a call after two warm-up calls."""
    times = []
    for number in range(rounds + 2):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        begin = time.perf_counter()
        function()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if number >= 2:
            times.append(time.perf_counter() - begin)
    return statistics.median(times)


def train_losses(run: Path) -> list[float]:
    """The loss of each line that a run of `pipeline.pretrain` logged while training."""
    lines, _ = read_lines(run / METRICS)
    return [line["loss"] for line in lines if line["kind"] == "train"]


def bytes_per_second(device: torch.device, size: int, rounds: int) -> float:
    """Bandwidth of a copy of `size` bytes: the bytes that it reads and writes per second."""
    source = torch.empty(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / seconds(lambda: target.copy_(source), device, rounds)


def processor() -> str:
    """Name of the processor, whether it multiplies bf16 matrices, and the number of its cores."""
    return f"{cpu_name()}, {os.cpu_count()} cores"
