"""The training loop: micro-batches, step, log, evaluate, save.

What a step computes is a function of (recipe, step): samples and masks come from counters, dropout is seeded by
(seed, step, micro-batch), so the state of a run is its weights, moments and `consumed_samples`.

All ranks take every decision alike: what one of them alone knows (a signal, an error, a file written) is voted on while
a step computes and acted upon after it.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field

import torch

from pipeline.checkpoints.saving import Saver
from pipeline.data.batch import Batch
from pipeline.engine.engine import Engine
from pipeline.runlog.metrics import Writer, peak_memory_gib
from pipeline.runlog.terms import Term
from pipeline.runtime import distributed, faults
from pipeline.runtime.command import USER_ERRORS
from pipeline.runtime.progress import Progress
from pipeline.runtime.signals import InterruptedRunError
from pipeline.training.skipped import MicroBatchLoss, SkippedSteps
from pipeline.training.supervision import Supervisor
from pipeline.training.totals import Totals, averages, throughput


@dataclass
class TrainState:
    """Where a run is; everything but the weights and moments that a checkpoint must hold."""

    step: int = 0
    """Optimizer steps done."""
    consumed_samples: int = 0
    """Samples used by them."""
    evaluated_step: int = -1
    """Step of the last evaluation."""
    skipped_steps: int = 0
    """Steps skipped because of infinite or NaN gradients."""
    skipped_in_a_row: int = 0
    """How many of them came last."""
    interval: dict[str, float] = field(default_factory=dict)
    """Sums since the last log line, over all ranks, and the seconds that they took."""


@dataclass(frozen=True)
class LoopConfig:
    """Numbers and functions of the training loop, from the recipe."""

    total_steps: int
    accumulation_steps: int
    global_batch_size: int
    seed: int
    learning_rate: Callable[[int], float]
    """Optimizer step, from 1 -> learning rate."""
    terms: tuple[Term, ...]
    """The terms of the loss."""
    count: Callable[[Batch], Mapping[str, float]]
    """What a micro-batch adds to the counts of `Totals`."""
    peak_flops: float
    """FLOP/s of one device."""
    log_every: int
    save_every: int
    evaluate_every: int


class Trainer:
    """Trains until `config.total_steps`, or until the run is asked to stop."""

    def __init__(
        self,
        engine: Engine,
        config: LoopConfig,
        state: TrainState,
        *,
        batches: Iterator[Batch],
        heldout: Callable[[], Iterable[Batch]],
        writer: Writer,
        progress: Progress,
        saver: Saver,
        supervisor: Supervisor,
        skipped_steps: SkippedSteps,
    ) -> None:
        """Args:
        engine: model and optimizer.
        config: numbers of the loop.
        state: where to begin.
        batches: this rank's micro-batches, from the first one after `state`.
        heldout: gives the held-out micro-batches anew.
        writer: takes the metrics.
        progress: shows them.
        saver: writes checkpoints.
        supervisor: hears of the other ranks.
        skipped_steps: writes a report of each skipped step.
        """
        self.engine, self.config, self.state = engine, config, state
        self.batches, self.heldout = batches, heldout
        self.writer, self.progress, self.saver = writer, progress, saver
        self.supervisor, self.skipped_steps = supervisor, skipped_steps
        self.totals, self._step_totals = Totals(config.terms, engine.device), Totals(config.terms, engine.device)
        self.latest: dict[str, dict[str, float]] = {}
        self._latest_batch: Batch | None = None
        self._broken = False  # whether `batches` has raised an error
        self._interval = time.monotonic()  # when the interval between two log lines began
        self._waited = 0.0  # seconds since then for which the loop had no batch

    def train(self) -> None:
        """Run the remaining steps.

        Raises:
            InterruptedRunError: a signal asked to stop; everything is saved.
        """
        if self._due(self.config.evaluate_every) and self.state.evaluated_step != self.state.step:
            if stop := self.evaluate():
                raise InterruptedRunError(stop)  # nothing has changed since the run was saved
            if self.state.step == self.config.total_steps:  # the last checkpoint does not hold these figures yet
                self.save()
        self._begin_interval()
        while self.state.step < self.config.total_steps:
            self.supervisor.beat("training")
            losses, was_skipped = self.train_step()
            with self._all_leaving():
                self._judge(losses, was_skipped)
                outcome = self.supervisor.outcome()
            stop = outcome.stop if self.state.step < self.config.total_steps else ""
            if not outcome.writing:
                self.saver.publish()
            if self._due(self.config.log_every):
                self.log()
            if not stop and self._due(self.config.evaluate_every):
                stop = self.evaluate()
            if stop or self._due(self.config.save_every):
                self.save()
            self.progress.advance(self.summary())
            if stop:
                self.finish()
                raise InterruptedRunError(stop)
        self.finish()

    def train_step(self) -> tuple[list[MicroBatchLoss], bool]:
        """One optimizer step over this rank's micro-batches of the global batch; returns them and if it was skipped."""
        faults.reach("step begun")
        self.state.step += 1
        self.supervisor.events.step = self.state.step
        rate = self.config.learning_rate(self.state.step)
        skipped_before, losses = self.engine.skipped_steps, []
        for number in range(1, self.config.accumulation_steps + 1):
            batch = self._next()
            last = number == self.config.accumulation_steps
            if last:
                self.supervisor.note(self.saver.error)
                self.supervisor.cast(self.saver.writing)
            torch.manual_seed(dropout_seed(self.config.seed, self.state.step, batch.group))
            output = self.engine.forward(batch.to(self.engine.device, non_blocking=True))
            self.engine.backward(output.loss)
            if last:
                faults.reach("gradients added up")
                self.saver.settle()
            self.engine.step(rate)
            self._step_totals.add(output.sums, self.config.count(batch))
            losses.append(MicroBatchLoss(batch, output.loss.detach()))
        self.state.consumed_samples += self.config.global_batch_size
        faults.reach("step done")
        return losses, self.engine.skipped_steps > skipped_before

    @contextmanager
    def _all_leaving(self) -> Iterator[None]:
        """What is raised in the block is raised on all ranks: a checkpoint that is being written is completed first."""
        try:
            yield
        except (*USER_ERRORS, distributed.PeerError):
            with suppress(Exception):  # perhaps it is what went wrong
                self.saver.finish()
            raise

    def _judge(self, losses: list[MicroBatchLoss], was_skipped: bool) -> None:
        """Count the step, or take note that it was skipped: then it has no part in the averages."""
        if was_skipped:
            self._step_totals.clear()
            self.state.skipped_steps += 1
            self.state.skipped_in_a_row += 1
            self.skipped_steps.report(self.state.step, self.state.skipped_in_a_row, losses)
        else:
            self.totals.merge(self._step_totals)
            self.state.skipped_in_a_row = 0

    def log(self) -> None:
        """Write the averages since the last line."""
        sums = self.totals.reduce()
        now = time.monotonic()
        values = averages(self.config.terms, sums) | throughput(sums, now - self._interval, self.config.peak_flops)
        waited = distributed.all_reduce_max(self._waited, self.engine.device)
        values["loader_wait_share"] = waited / (now - self._interval)
        self._interval, self._waited = now, 0.0
        values["learning_rate"] = self.config.learning_rate(self.state.step)
        values["grad_norm"] = self.engine.grad_norm()
        values["skipped_steps"] = self.state.skipped_steps
        values["peak_memory_gib"] = peak_memory_gib(self.engine.device)
        values["consumed_samples"] = self.state.consumed_samples
        self.latest["train"] = values
        with self.supervisor.noting_errors():
            self.writer.write("train", self.state.step, values)
            self.writer.write_ratios(self.state.step, self.engine.trust_ratios())

    @torch.no_grad()
    def evaluate(self) -> str:
        """Losses and accuracies on the held-out samples.

        Returns the name of the signal that asked to stop, if one did between two batches; the evaluation is then made
        again when the run continues. What goes wrong on one rank, all ranks hear before they compute on.
        """
        begin = time.monotonic()
        totals = Totals(self.config.terms, self.engine.device)
        self.engine.deepspeed.eval()
        batches = iter(self.heldout())
        while True:
            self.supervisor.beat("evaluating")
            batch = None
            with self.supervisor.noting_errors():
                faults.reach("held-out batch")
                batch = next(batches, None)
            with self._all_leaving():
                stop = self.supervisor.agree()
            if batch is None or stop:
                break
            output = self.engine.forward(batch.to(self.engine.device, non_blocking=True))
            totals.add(output.sums, self.config.count(batch), weight=batch.weight)
        self.engine.deepspeed.train()
        if batch is None:
            self._note_evaluation(averages(self.config.terms, totals.reduce()))
        self._interval += time.monotonic() - begin  # not training time
        return stop

    def _note_evaluation(self, values: dict[str, float]) -> None:
        """Write and show an evaluation."""
        self.latest["heldout"] = values
        self.state.evaluated_step = self.state.step
        with self.supervisor.noting_errors():
            self.writer.write("heldout", self.state.step, values)
        self.progress.say(f"step {self.state.step}  held out: " + "  ".join(f"{k} {v:.4f}" for k, v in values.items()))

    def save(self) -> None:
        """Begin to write a checkpoint on all ranks together."""
        begin = time.monotonic()
        self.supervisor.beat("saving")
        self.state.interval = {}
        if self.state.step % self.config.log_every:
            self.state.interval = self.totals.sums() | {"seconds": begin - self._interval, "waited": self._waited}
        self.saver.begin(asdict(self.state) | {"metrics": self.latest})
        self._interval += time.monotonic() - begin

    def finish(self) -> None:
        """Wait until everything is on disk; an error that came last still counts."""
        self.supervisor.beat("saving")
        self.saver.finish()
        self.supervisor.raise_noted()

    def _begin_interval(self) -> None:
        """Go on with the sums since the last log line, where a checkpoint holds some."""
        sums = dict(self.state.interval)
        self._interval = time.monotonic() - sums.pop("seconds", 0.0)
        waited = sums.pop("waited", 0.0)
        if sums and distributed.is_main():
            self.totals.restore(sums)
            self._waited = waited

    def summary(self) -> str:
        """The latest figures in one line."""
        latest = self.latest.get("train")
        if latest is None:
            return ""
        accuracies = [
            f"{term.name} acc {latest[f'{term.name}_accuracy']:.3f}" for term in self.config.terms if term.counted
        ]
        return "  ".join([f"loss {latest['loss']:.3f}", *accuracies, f"{latest['tokens_per_second']:,.0f} tokens/s"])

    def _due(self, every: int) -> bool:
        return bool(every) and (self.state.step % every == 0 or self.state.step == self.config.total_steps)

    def _next(self) -> Batch:
        """This rank's next micro-batch, or the last one once more where there is an error: the step is then void."""
        begin = time.perf_counter()
        try:
            if not self._broken:
                self._latest_batch = next(self.batches)
        except USER_ERRORS as error:
            if self._latest_batch is None:
                raise
            self._broken = True
            self.supervisor.note(error)
        assert self._latest_batch is not None, "the first batch is there, or has raised"
        self._waited += time.perf_counter() - begin
        return self._latest_batch


def dropout_seed(seed: int, step: int, group: int) -> int:
    """Seed of a micro-batch's dropout: the same wherever and whenever it is computed.

    A linear congruential mix; torch's generator scrambles it further.
    """
    return (seed * 6364136223846793005 + step * 1442695040888963407 + group * 2862933555777941757) % 2**63
