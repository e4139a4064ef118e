"""Loss, accuracy, throughput and MFU of the last steps, to a JSON-lines file and TensorBoard."""

import json
import math
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from pipeline import distributed

PEAK_TFLOPS = {
    "V100": 125,
    "A100": 312,
    "H100 PCIe": 756,
    "H100": 989,
    "H200": 989,
    "B200": 2250,
}
"""Dense bf16 (V100: fp16) tensor-core peak per device, from NVIDIA's data sheets (SXM unless named)."""


@dataclass(frozen=True)
class LoggingConfig:
    """What is written while training."""

    every: int = 10
    """Optimizer steps between lines of metrics.jsonl, averaged over them."""
    tensorboard: bool = True
    """Also write TensorBoard event files to the run's tensorboard/."""
    peak_tflops: float = 0.0
    """Peak of one device in TFLOP/s, for MFU; 0 takes it from a table of known devices, and no MFU if not in it."""

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"logging.every = {self.every}: must be at least 1")


def peak_flops(device: torch.device, override_tflops: float) -> float | None:
    """FLOP/s of one device at its peak, or None where it is not known."""
    if override_tflops:
        return override_tflops * 1e12
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    matches = [key for key in PEAK_TFLOPS if all(word in name for word in key.split())]
    return PEAK_TFLOPS[max(matches, key=len)] * 1e12 if matches else None


def peak_memory_gib(device: torch.device) -> float:
    """Largest memory of any rank so far: the device's allocations, or a CPU process's resident set."""
    if device.type == "cuda":
        used = torch.cuda.max_memory_allocated(device)
    else:
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return distributed.all_reduce_max(used / 2**30, device)


class Totals:
    """Sums over micro-batches, kept on the device; read with one reduction, not one per step."""

    NAMES = ("mlm_loss", "mlm_correct", "pair_loss", "pair_correct", "masked", "samples", "tokens", "flops")

    def __init__(self, device: torch.device) -> None:
        self._sums = torch.zeros(len(self.NAMES), dtype=torch.float64, device=device)

    def add(self, values: list[Tensor | float], weight: float = 1.0) -> None:
        """Add one micro-batch's values, in the order of NAMES."""
        device = self._sums.device
        row = torch.stack([torch.as_tensor(value, dtype=torch.float64, device=device).detach() for value in values])
        self._sums += weight * row

    def reduce(self) -> dict[str, float]:
        """Sums over all ranks since the last call."""
        sums = distributed.all_reduce_sum_(self._sums).tolist()
        self._sums = torch.zeros_like(self._sums)
        return dict(zip(self.NAMES, sums, strict=True))


def averages(sums: dict[str, float]) -> dict[str, float]:
    """Losses per masked token and per sample, accuracies, and the total that is minimised."""
    mlm_loss, pair_loss = sums["mlm_loss"] / sums["masked"], sums["pair_loss"] / sums["samples"]
    return {
        "loss": mlm_loss + pair_loss,
        "mlm_loss": mlm_loss,
        "mlm_accuracy": sums["mlm_correct"] / sums["masked"],
        "nsp_loss": pair_loss,
        "nsp_accuracy": sums["pair_correct"] / sums["samples"],
    }


def throughput(sums: dict[str, float], seconds: float, peak: float | None) -> dict[str, float]:
    """Real tokens (no padding exists) and sequences per second over all ranks; MFU where the peak is known."""
    rates = {"tokens_per_second": sums["tokens"] / seconds, "sequences_per_second": sums["samples"] / seconds}
    if peak:
        rates["mfu"] = sums["flops"] / (seconds * peak * distributed.world_size())
    return rates


class Writer:
    """metrics.jsonl and TensorBoard on the main rank; silent on the others."""

    def __init__(self, run: Path, config: LoggingConfig, resumed_step: int) -> None:
        """Drops lines of steps after `resumed_step`: they will be trained again."""
        self._file = self._board = None
        if not distributed.is_main():
            return
        path = run / "metrics.jsonl"
        kept = [line for line in read(path) if line["step"] <= resumed_step] if path.exists() else []
        path.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        self._file = path.open("a", encoding="utf-8", buffering=1)
        if config.tensorboard:
            self._board = SummaryWriter(str(run / "tensorboard"), purge_step=resumed_step + 1)

    def write(self, kind: str, step: int, values: dict[str, float]) -> None:
        """One line: kind ("train", "heldout"), step, time and the values."""
        if self._file is None:
            return
        finite = {key: value if math.isfinite(value) else None for key, value in values.items()}
        self._file.write(json.dumps({"kind": kind, "step": step, "time": round(time.time(), 3)} | finite) + "\n")
        if self._board is not None:
            for key, value in values.items():
                self._board.add_scalar(f"{kind}/{key}", value, step)

    def close(self) -> None:
        """Flush and close both."""
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a metrics.jsonl; a last line cut short by a kill is left out."""
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            yield json.loads(line)
