"""The training loop: micro-batches, step, log, evaluate, save.

What a step computes is a function of (recipe, step): samples and masks come from counters, dropout is seeded by
(seed, step, micro-batch), so the state of a run is its weights, moments and `consumed_samples`.
"""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline import distributed
from pipeline.data.batch import Batch
from pipeline.engine import Engine
from pipeline.metrics import Totals, Writer, averages, peak_memory_gib, throughput
from pipeline.progress import Progress


@dataclass(frozen=True)
class EvaluationConfig:
    """Held-out evaluation: fixed masks, the same samples every time and at every world size."""

    every: int = 200
    """Optimizer steps between evaluations; also before the first step and after the last. 0: never."""
    samples: int = 10000
    """Held-out samples, from the start of the held-out split; fewer if it has fewer."""

    def __post_init__(self) -> None:
        for name, least in (("every", 0), ("samples", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"evaluation.{name} = {getattr(self, name)}: must be at least {least}")


@dataclass
class TrainState:
    """Where a run is."""

    step: int = 0
    """Optimizer steps done."""
    consumed_samples: int = 0
    """Samples used by them."""


@dataclass(frozen=True)
class Plan:
    """What the loop needs beside the engine and the data."""

    total_steps: int
    accumulation_steps: int
    global_batch_size: int
    seed: int
    learning_rate: Callable[[int], float]
    """Optimizer step, from 1 -> learning rate."""
    count: Callable[[Batch], list[float]]
    """What a micro-batch adds to the counts of `Totals`, in their order."""
    peak_flops: float
    """FLOP/s of one device."""
    log_every: int
    save_every: int
    evaluate_every: int


class Trainer:
    """Trains until `plan.total_steps`."""

    def __init__(
        self,
        engine: Engine,
        plan: Plan,
        state: TrainState,
        *,
        batches: Iterable[Batch],
        heldout: Callable[[], Iterable[Batch]],
        writer: Writer,
        progress: Progress,
        save: Callable[[dict[str, Any]], None],
    ) -> None:
        """Args:
        engine: model and optimizer.
        plan: numbers of the loop.
        state: where to begin.
        batches: this rank's micro-batches, from the first one after `state`.
        heldout: gives the held-out micro-batches anew.
        writer: takes the metrics.
        progress: shows them.
        save: writes a checkpoint; gets step, consumed_samples and the latest metrics.
        """
        self.engine, self.plan, self.state = engine, plan, state
        self.batches, self.heldout = iter(batches), heldout
        self.writer, self.progress, self._save = writer, progress, save
        self.totals = Totals(engine.device)
        self.latest: dict[str, dict[str, float]] = {}
        self._interval = time.monotonic()  # when the interval between two log lines began
        self._waited = 0.0  # seconds since then for which the loop had no batch

    def train(self) -> None:
        """Run the remaining steps."""
        if self.state.step == 0:
            self.evaluate()
        self._interval = time.monotonic()
        while self.state.step < self.plan.total_steps:
            self.train_step()
            if self._due(self.plan.log_every):
                self.log()
            if self._due(self.plan.evaluate_every):
                self.evaluate()
            if self._due(self.plan.save_every):
                self.save()
            self.progress.advance(self.summary())

    def train_step(self) -> None:
        """One optimizer step over this rank's micro-batches of the global batch."""
        self.state.step += 1
        rate = self.plan.learning_rate(self.state.step)
        for _ in range(self.plan.accumulation_steps):
            batch = self._next()
            torch.manual_seed(dropout_seed(self.plan.seed, self.state.step, batch.group))
            output = self.engine.forward(batch.to(self.engine.device, non_blocking=True))
            self.engine.backward(output.loss)
            self.engine.step(rate)
            self.totals.add(measured(output), self.plan.count(batch))
        self.state.consumed_samples += self.plan.global_batch_size

    def log(self) -> None:
        """Write the averages since the last line; stop a run whose loss is not a number."""
        sums = self.totals.reduce()
        now = time.monotonic()
        values = averages(sums) | throughput(sums, now - self._interval, self.plan.peak_flops)
        waited = distributed.all_reduce_max(self._waited, self.engine.device)
        values["loader_wait_share"] = waited / (now - self._interval)
        self._interval, self._waited = now, 0.0
        values["learning_rate"] = self.plan.learning_rate(self.state.step)
        values["grad_norm"] = self.engine.grad_norm()
        values["skipped_steps"] = self.engine.skipped_steps
        values["peak_memory_gib"] = peak_memory_gib(self.engine.device)
        values["consumed_samples"] = self.state.consumed_samples
        self.latest["train"] = values
        self.writer.write("train", self.state.step, values)
        if not math.isfinite(values["loss"]):
            # Every rank sees it; the first one says it.
            error = FloatingPointError if distributed.is_main() else distributed.PeerError
            raise error(
                f"the loss became {values['loss']} in the {self.plan.log_every} steps up to {self.state.step}; "
                "continue from the last checkpoint with a lower optimizer.lr or a longer schedule.warmup_proportion"
            )

    @torch.no_grad()
    def evaluate(self) -> None:
        """Losses and accuracies on the held-out samples."""
        if not self.plan.evaluate_every:
            return
        begin = time.monotonic()
        totals = Totals(self.engine.device)
        self.engine.deepspeed.eval()
        for batch in self.heldout():
            output = self.engine.forward(batch.to(self.engine.device, non_blocking=True))
            totals.add(measured(output), self.plan.count(batch), weight=batch.weight)
        self.engine.deepspeed.train()
        values = averages(totals.reduce())
        self.latest["heldout"] = values
        self.writer.write("heldout", self.state.step, values)
        self.progress.say(f"step {self.state.step}  held out: " + "  ".join(f"{k} {v:.4f}" for k, v in values.items()))
        self._interval += time.monotonic() - begin  # not training time

    def save(self) -> None:
        """Write a checkpoint on all ranks together."""
        begin = time.monotonic()
        self._save({"step": self.state.step, "consumed_samples": self.state.consumed_samples, "metrics": self.latest})
        self._interval += time.monotonic() - begin

    def summary(self) -> str:
        """The latest figures in one line."""
        latest = self.latest.get("train")
        if latest is None:
            return ""
        return (
            f"loss {latest['loss']:.3f}  mlm acc {latest['mlm_accuracy']:.3f}  nsp acc {latest['nsp_accuracy']:.3f}  "
            f"{latest['tokens_per_second']:,.0f} tokens/s"
        )

    def _due(self, every: int) -> bool:
        return bool(every) and (self.state.step % every == 0 or self.state.step == self.plan.total_steps)

    def _next(self) -> Batch:
        begin = time.perf_counter()
        batch = next(self.batches)
        self._waited += time.perf_counter() - begin
        return batch


def measured(output: Any) -> list[Tensor]:
    """What a forward pass adds to the measured sums of `Totals`, in their order."""
    return [output.mlm_loss_sum, output.mlm_correct, output.pair_loss_sum, output.pair_correct]


def dropout_seed(seed: int, step: int, group: int) -> int:
    """Seed of a micro-batch's dropout: the same wherever and whenever it is computed.

    A linear congruential mix; torch's generator scrambles it further.
    """
    return (seed * 6364136223846793005 + step * 1442695040888963407 + group * 2862933555777941757) % 2**63
