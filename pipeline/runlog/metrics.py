"""Loss, accuracy, throughput and MFU of the last steps, to a JSON-lines file and TensorBoard."""

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
    """FLOP/s of one device at its peak: as given, from the table, or measured."""
    if override_tflops:
        return override_tflops * 1e12
    known = find_device(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
    tflops = known.peak_tflops.get(str(dtype).removeprefix("torch.")) if known else None
    return tflops * 1e12 if tflops else gemm_rate(device, dtype)


def gemm_rate(device: torch.device, dtype: torch.dtype, rounds: int = 5, most_seconds: float = 0.3) -> float:
    """FLOP/s of the best of some products of two square matrices, on all threads that this process may use.

    Args:
        device: where.
        dtype: of the matrices.
        rounds: products of each size.
        most_seconds: a size at which a product would take longer is left out: a CPU without the type needs seconds
            for what others do in milliseconds.
    """
    rates: list[float] = []
    for size in (256, 512, 1024) if device.type == "cpu" else (1024, 8192):
        if rates and 2 * size**3 / max(rates) > most_seconds:
            break
        a, b = (torch.ones(size, size, dtype=dtype, device=device) for _ in range(2))
        float((a @ b)[0, 0])  # compiles
        for _ in range(rounds):
            begin = time.perf_counter()
            float((a @ b)[0, 0])
            rates.append(2 * size**3 / (time.perf_counter() - begin))
    return max(rates)


def peak_memory_gib(device: torch.device) -> float:
    """Largest memory of any rank so far: the device's allocations, or a CPU process's resident set."""
    if device.type == "cuda":
        used = torch.cuda.max_memory_allocated(device)
    else:
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return distributed.all_reduce_max(used / 2**30, device)


class Writer:
    """metrics.jsonl, TensorBoard and DeepSpeed's monitors (Weights & Biases, ...); silent but on the main rank."""

    def __init__(
        self, run: Path, config: LoggingConfig, resumed_step: int, evaluated_step: int, monitor: Any = None
    ) -> None:
        """Drops the lines that will be written again, and those that cannot be read.

        Args:
            run: the run's directory.
            config: what is written.
            resumed_step: where training goes on.
            evaluated_step: the last evaluation up to there.
            monitor: the engine's, where the DeepSpeed JSON turns one on.
        """
        self._file = self._board = self._monitor = None
        self.damaged_lines = 0
        """Lines that could not be read: a power loss leaves NULs."""
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
        """One line: kind ("train", "heldout", "averaged"), step, time and the values."""
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
        """One line of kind "trust_ratio" with LAMB's ratio of each tensor; none where there are none (AdamW)."""
        if self._file is None or not ratios:
            return
        values = torch.stack(list(ratios.values())).tolist()
        self._line("trust_ratio", step, {"ratios": dict(zip(ratios, values, strict=True))})
        if self._board is not None:
            self._board.add_histogram("trust_ratio", np.array(values), step)

    def _line(self, kind: str, step: int, values: dict[str, Any]) -> None:
        assert self._file is not None, "the callers see to it"
        self._file.write(json.dumps({"kind": kind, "step": step, "time": round(time.time(), 3)} | values) + "\n")

    def close(self) -> None:
        """Flush and close both."""
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()
