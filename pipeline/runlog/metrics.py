"""Writer of the metrics (loss, accuracy, throughput, MFU) to a JSON-lines file and TensorBoard, and device peaks."""

import json
import math
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from pipeline.runlog.config import LoggingConfig
from pipeline.runlog.reader import METRICS, read_lines
from pipeline.runtime import distributed, faults
from pipeline.runtime.devices import find_device
from preprocessing.files import write_text


def peak_flops(device: torch.device, dtype: torch.dtype, override_tflops: float = 0.0) -> float:
    """Peak rate of one device in FLOP/s: the given one, else that of the table of GPUs, else a measured one.

    Args:
        device: the device.
        dtype: type of the factors.
        override_tflops: the given rate in TFLOP/s; 0 for none.
    """
    if override_tflops:
        return override_tflops * 1e12
    known = find_device(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
    tflops = known.peak_tflops.get(str(dtype).removeprefix("torch.")) if known else None
    return tflops * 1e12 if tflops else gemm_rate(device, dtype)


def gemm_rate(device: torch.device, dtype: torch.dtype, rounds: int = 5, most_seconds: float = 0.3) -> float:
    """Rate in FLOP/s of the fastest of some products of two square matrices, on all threads of this process.

    Args:
        device: the device to measure.
        dtype: type of the matrices.
        rounds: number of products of each size.
        most_seconds: sizes at which a product would take longer are skipped, because a CPU without support for the
            type needs seconds for a product that takes others milliseconds.
    """
    rates: list[float] = []
    for size in (256, 512, 1024) if device.type == "cpu" else (1024, 8192):
        if rates and 2 * size**3 / max(rates) > most_seconds:
            break
        a, b = (torch.ones(size, size, dtype=dtype, device=device) for _ in range(2))
        float((a @ b)[0, 0])  # warm-up
        for _ in range(rounds):
            begin = time.perf_counter()
            float((a @ b)[0, 0])
            rates.append(2 * size**3 / (time.perf_counter() - begin))
    return max(rates)


def peak_memory_gib(device: torch.device) -> float:
    """Peak memory in GiB of the rank with the most: allocations on the device, or on a CPU the resident set."""
    if device.type == "cuda":
        used = torch.cuda.max_memory_allocated(device)
    else:
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return distributed.all_reduce_max(used / 2**30, device)


class Writer:
    """Writes to metrics.jsonl, TensorBoard and DeepSpeed's monitors (Weights & Biases, ...); on rank 0 only."""

    def __init__(
        self, run: Path, config: LoggingConfig, resumed_step: int, evaluated_step: int, monitor: Any = None
    ) -> None:
        """Open the files, and remove the lines that will be written again and those that cannot be read.

        Args:
            run: directory of the run.
            config: the section `[logging]`.
            resumed_step: the step from which training resumes.
            evaluated_step: the step of the last evaluation up to `resumed_step`.
            monitor: the monitor of the DeepSpeed engine, used if the DeepSpeed JSON enables one.
        """
        self._file = self._board = self._monitor = None
        self.damaged_lines = 0
        """Number of lines that could not be read; a power loss may leave NUL bytes in the file."""
        if not distributed.is_main():
            return
        path = run / METRICS
        last = {"heldout": evaluated_step, "averaged": evaluated_step}
        lines, self.damaged_lines = read_lines(path)
        kept = [line for line in lines if line["step"] <= last.get(line["kind"], resumed_step)]
        write_text(path, "".join(json.dumps(line) + "\n" for line in kept))
        faults.reach("metrics trimmed")
        self._file = path.open("a", encoding="utf-8", buffering=1)
        if config.tensorboard:
            self._board = SummaryWriter(str(run / "tensorboard"), purge_step=resumed_step + 1)
        if monitor is not None and monitor.enabled:
            self._monitor = monitor

    def write(self, kind: str, step: int, values: dict[str, float]) -> None:
        """Write one line with kind ("train", "heldout" or "averaged"), step, time and the values."""
        if self._file is None:
            return
        finite = {key: value if math.isfinite(value) else None for key, value in values.items()}
        self._line(kind, step, finite)
        if self._board is not None:
            for key, value in values.items():
                self._board.add_scalar(f"{kind}/{key}", value, step)
        if self._monitor is not None:
            self._monitor.write_events([(f"{kind}/{key}", value, step) for key, value in values.items()])

    def write_ratios(self, step: int, ratios: dict[str, Tensor]) -> None:
        """Write one line of kind "trust_ratio" with the ratio of each tensor; nothing without ratios (AdamW)."""
        if self._file is None or not ratios:
            return
        values = torch.stack(list(ratios.values())).tolist()
        self._line("trust_ratio", step, {"ratios": dict(zip(ratios, values, strict=True))})
        if self._board is not None:
            self._board.add_histogram("trust_ratio", np.array(values), step)

    def _line(self, kind: str, step: int, values: dict[str, Any]) -> None:
        assert self._file is not None, "the callers return if there is no file"
        self._file.write(json.dumps({"kind": kind, "step": step, "time": round(time.time(), 3)} | values) + "\n")

    def close(self) -> None:
        """Flush and close the file and TensorBoard."""
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()
