"""The training loop: steps over micro-batches, log lines, evaluations and checkpoints.

A step is a function of (recipe, step): samples and masks come from counters, and dropout is seeded by (seed, step,
micro-batch), so that the state of a run consists of its weights, its moments and `consumed_samples`.

All ranks take every decision alike: events that only one rank knows of (a signal, an error, a written file) are voted
on while a step computes, and take effect after it.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict

import torch

from pipeline.checkpoints.saving import Saver
from pipeline.data.batch import Batch
from pipeline.engine.engine import Engine
from pipeline.optim.averaging import add_to_average
from pipeline.runlog.metrics import Writer, peak_memory_gib
from pipeline.runtime import distributed, faults
from pipeline.runtime.command import USER_ERRORS
from pipeline.runtime.progress import Progress
from pipeline.runtime.signals import InterruptedRunError
from pipeline.training.evaluation import Batches, Evaluation
from pipeline.training.skipped import MicroBatchLoss, SkippedSteps
from pipeline.training.state import LoopConfig, TrainState
from pipeline.training.supervision import Supervisor
from pipeline.training.totals import Totals, averages, throughput


class Trainer:
    """Trains until step `config.total_steps`, or until a stop signal."""

    def __init__(
        self,
        engine: Engine,
        config: LoopConfig,
        state: TrainState,
        *,
        batches: Iterator[Batch],
        heldout: Batches,
        order_gap: tuple[Batches, ...] = (),
        writer: Writer,
        progress: Progress,
        saver: Saver,
        supervisor: Supervisor,
        skipped_steps: SkippedSteps,
    ) -> None:
        """Args:
        engine: model and optimizer.
        config: numbers of the loop.
        state: progress of the run, from which training continues.
        batches: this rank's micro-batches, from the first one after `state`.
        heldout: returns the held-out micro-batches, anew at each call.
        order_gap: the same for those of the order gap, intact and shuffled; empty if it is not measured.
        writer: writes the metrics.
        progress: shows them in the terminal.
        saver: writes checkpoints.
        supervisor: exchanges stop signals and errors with the other ranks.
        skipped_steps: writes a report of each skipped step.
        """
        self.engine, self.config, self.state = engine, config, state
        self.batches = batches
        self.evaluation = Evaluation(engine, config.terms, self._count, heldout, order_gap)
        self.writer, self.progress, self.saver = writer, progress, saver
        self.supervisor, self.skipped_steps = supervisor, skipped_steps
        self.totals, self._step_totals = Totals(config.terms, engine.device), Totals(config.terms, engine.device)
        self.latest: dict[str, dict[str, float]] = {}
        self._latest_batch: Batch | None = None
        self._broken = False  # whether `batches` has raised an error
        self._interval = time.monotonic()  # start of the interval since the last log line
        self._waited = 0.0  # seconds since then in which the loop waited for a batch

    def train(self) -> None:
        """Run the remaining steps.

        Raises:
            InterruptedRunError: a rank received a stop signal. A checkpoint of the last step is saved.
            FloatingPointError: too many steps in a row were skipped.
            ValueError, OSError: a batch could not be read, or a file not written.
        """
        if self._due(self.config.evaluate_every) and self.state.evaluated_step != self.state.step:
            if stop := self.evaluate():
                raise InterruptedRunError(stop)  # no step has been taken since the last checkpoint
            if self.state.step == self.config.total_steps:  # the last checkpoint does not contain these figures yet
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
        """Run one optimizer step; returns the losses of this rank's micro-batches, and whether it was skipped."""
        faults.reach("step begun")
        self.state.step += 1
        self.supervisor.events.step = self.state.step
        rate = self.config.learning_rate(self.state.step)
        accumulation = self.config.accumulation_steps(self.state.step)
        self.engine.set_accumulation(accumulation)
        skipped_before, losses = self.engine.skipped_steps, []
        for number in range(1, accumulation + 1):
            batch = self._next()
            last = number == accumulation
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
            self._step_totals.add(output.sums, self._count(batch))
            losses.append(MicroBatchLoss(batch, output.loss.detach()))
        if averaged := self.config.averaged(self.state.step):
            add_to_average(self.engine.shards, averaged)
        self.state.consumed_samples += self.config.batch_size(self.state.step)
        faults.reach("step done")
        return losses, self.engine.skipped_steps > skipped_before

    def _count(self, batch: Batch) -> Mapping[str, float]:
        """Return the counts of a micro-batch of the present step; before the first one, as in that one."""
        return self.config.count(batch, max(1, self.state.step))

    @contextmanager
    def _all_leaving(self) -> Iterator[None]:
        """Complete a checkpoint in progress before an error of the block is raised, which all ranks raise together."""
        try:
            yield
        except (*USER_ERRORS, distributed.PeerError):
            with suppress(Exception):  # the checkpoint may be the cause of the error
                self.saver.finish()
            raise

    def _judge(self, losses: list[MicroBatchLoss], was_skipped: bool) -> None:
        """Add the step to the averages or, if it was skipped, report it."""
        if was_skipped:
            self._step_totals.clear()
            self.state.skipped_steps += 1
            self.state.skipped_in_a_row += 1
            self.skipped_steps.report(self.state.step, self.state.skipped_in_a_row, losses)
        else:
            self.totals.merge(self._step_totals)
            self.state.skipped_in_a_row = 0

    def log(self) -> None:
        """Write a log line with the averages since the last one."""
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

    def evaluate(self) -> str:
        """Evaluate the model on the held-out samples and write losses and accuracies.

        After the last step, averaged weights are evaluated too. Returns the name of a stop signal received between two
        batches, otherwise an empty string. An interrupted evaluation is repeated when the run continues.
        """
        begin = time.monotonic()
        figures: dict[str, dict[str, float]] = {}
        figures["heldout"], stop = self.evaluation.figures(self.supervisor, self._all_leaving)
        ended = self.state.step == self.config.total_steps
        if figures["heldout"] and ended and self.config.averaged(self.state.step):
            with self.engine.averaged_weights():
                figures["averaged"], stop = self.evaluation.figures(self.supervisor, self._all_leaving)
        if all(figures.values()):
            for kind, values in figures.items():
                self._note_evaluation(kind, values)
        self._interval += time.monotonic() - begin  # an evaluation is not training time
        return stop

    def _note_evaluation(self, kind: str, values: dict[str, float]) -> None:
        """Write the figures of an evaluation and show them.

        Args:
            kind: heldout or, of averaged weights, averaged.
            values: losses and accuracies.
        """
        self.latest[kind] = values
        self.state.evaluated_step = self.state.step
        with self.supervisor.noting_errors():
            self.writer.write(kind, self.state.step, values)
        name = "held out" if kind == "heldout" else "held out, averaged weights"
        self.progress.say(f"step {self.state.step}  {name}: " + "  ".join(f"{k} {v:.4f}" for k, v in values.items()))

    def save(self) -> None:
        """Begin to write a checkpoint; all ranks call it together."""
        begin = time.monotonic()
        self.supervisor.beat("saving")
        self.state.interval = {}
        if self.state.step % self.config.log_every:
            self.state.interval = self.totals.sums() | {"seconds": begin - self._interval, "waited": self._waited}
        self.saver.begin(asdict(self.state) | {"metrics": self.latest})
        self._interval += time.monotonic() - begin

    def finish(self) -> None:
        """Wait until everything is on disk, and raise an error that occurred since the last vote."""
        self.supervisor.beat("saving")
        self.saver.finish()
        self.supervisor.raise_noted()

    def _begin_interval(self) -> None:
        """Begin the first interval, with the sums since the last log line that the checkpoint holds."""
        sums = dict(self.state.interval)
        self._interval = time.monotonic() - sums.pop("seconds", 0.0)
        waited = sums.pop("waited", 0.0)
        if sums and distributed.is_main():
            self.totals.restore(sums)
            self._waited = waited

    def summary(self) -> str:
        """Return the latest figures in one line."""
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
        """Return this rank's next micro-batch or, after an error, the last one again; the step is then void."""
        begin = time.perf_counter()
        try:
            if not self._broken:
                self._latest_batch = next(self.batches)
        except USER_ERRORS as error:
            if self._latest_batch is None:
                raise
            self._broken = True
            self.supervisor.note(error)
        assert self._latest_batch is not None, "without a first batch, its error was raised"
        self._waited += time.perf_counter() - begin
        return self._latest_batch


def dropout_seed(seed: int, step: int, group: int) -> int:
    """Return the seed of a micro-batch's dropout, which does not depend on rank, world size or restarts.

    It is a linear combination modulo 2^63, which torch's generator scrambles further.
    """
    return (seed * 6364136223846793005 + step * 1442695040888963407 + group * 2862933555777941757) % 2**63
