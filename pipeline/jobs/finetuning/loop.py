"""The training loop of a fine-tuning, in one process.

The batch of a step is a function of (data, seed, step), and so is its dropout, so that a resumed run equals an
undisturbed one bit for bit.

Shapes: N training examples, B examples of a batch.
"""

import math
import signal
import time
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch

from pipeline.data.hashing import Purpose, fold, purpose_key
from pipeline.data.packing import Int64Array
from pipeline.jobs.finetuning.recipe import FinetuningRecipe
from pipeline.jobs.finetuning.state import State
from pipeline.jobs.inference import compute_logits
from pipeline.model.task_heads import TaskModel
from pipeline.optim.optimizer import ShardedOptimizer
from pipeline.optim.parameters import Parameters
from pipeline.optim.schedule import ScheduleConfig, learning_rate_factor
from pipeline.optim.shards import whole_tensors
from pipeline.runlog.metrics import Writer
from pipeline.runtime import faults
from pipeline.runtime.progress import Progress
from pipeline.runtime.signals import InterruptedRunError, StopSignals
from pipeline.tasks.base import Logits, Task
from pipeline.tasks.encoding import Sequences, batch_of, divide
from pipeline.tasks.splits import DEV, TRAIN


@lru_cache(maxsize=2)
def order_of(seed: int, epoch: int, examples: int) -> Int64Array:
    """Return the order (N,) of the training examples in an epoch: a permutation that depends on nothing else."""
    keys = fold(fold(purpose_key(seed, Purpose.SAMPLE_ORDER), epoch), np.arange(examples))
    return np.argsort(keys, kind="stable")


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """Return the number of optimizer steps of a pass over the training examples."""
    return -(-examples // batch_size)


def rows_of(step: int, seed: int, examples: int, batch_size: int) -> Int64Array:
    """Return the training examples (B,) of a step, counted from 1; the last batch of an epoch is what remains."""
    epoch, number = divmod(step - 1, steps_per_epoch(examples, batch_size))
    return order_of(seed, epoch, examples)[number * batch_size : (number + 1) * batch_size]


def dropout_seed(seed: int, step: int, group: int) -> int:
    """Return the seed of the dropout of part `group` of a step's batch."""
    return int(fold(fold(purpose_key(seed, Purpose.DROPOUT), step), group) >> np.uint64(1))


def depth_of(name: str, layers: int) -> int:
    """Return the depth of a parameter: 0 for embeddings, 1 to `layers` for the layers, one more for the head."""
    if name.startswith("encoder.layers."):
        return int(name.split(".")[2]) + 1
    return 0 if name.startswith("encoder.") else layers + 1


def build_optimizer(model: TaskModel, parameters: Parameters, recipe: FinetuningRecipe) -> ShardedOptimizer:
    """Return the optimizer of the parameters that are trained, with a group for each factor of the learning rate,
    `factor` in the group.
    """
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    layers = len(model.encoder.layers)
    groups: dict[float, list[torch.nn.Parameter]] = {}
    for name, parameter in named.items():
        factor = recipe.training.layer_decay ** (layers + 1 - depth_of(name, layers))
        groups.setdefault(factor, []).append(parameter)
    made = [{"params": members, "factor": factor} for factor, members in groups.items()]
    optimizer = ShardedOptimizer(made, recipe.optimizer, clips=True)
    shards = whole_tensors((name, parameter, parameters.decays(name)) for name, parameter in named.items())
    optimizer.bind(shards, lambda tensor: None)
    return optimizer


class Loop:
    """Trains a model on a task, epoch by epoch."""

    def __init__(
        self,
        recipe: FinetuningRecipe,
        task: Task,
        sequences: Sequences,
        model: TaskModel,
        optimizer: ShardedOptimizer,
        state: State,
        *,
        save: Callable[[State], None],
        writer: Writer,
        progress: Progress,
        signals: StopSignals,
    ) -> None:
        """Args:
        recipe: the recipe.
        task: the task with its examples.
        sequences: how the model reads text.
        model: the model, on its device.
        optimizer: its optimizer.
        state: the position from which training goes on.
        save: writes a checkpoint.
        writer: metrics.
        progress: the terminal.
        signals: stop signals.
        """
        self.recipe, self.task, self.sequences, self.model, self.optimizer = recipe, task, sequences, model, optimizer
        self.state, self.save, self.writer, self.progress, self.signals = state, save, writer, progress, signals
        self.device = next(model.parameters()).device
        self.bf16 = recipe.training.precision == "bf16"
        self.examples = len(task.splits[TRAIN])
        self.steps_per_epoch = steps_per_epoch(self.examples, recipe.training.batch_size)
        self.total_steps = recipe.training.epochs * self.steps_per_epoch
        self._schedule = ScheduleConfig(
            self.total_steps, warmup_proportion=recipe.training.warmup_proportion, decay="linear"
        )
        self._sums = dict(state.interval)
        self._begun = time.monotonic() - self._sums.pop("seconds", 0.0)

    @property
    def is_over(self) -> bool:
        """Whether all epochs are done, or `patience` epochs have brought nothing better."""
        patience = self.recipe.training.patience
        return self.state.step >= self.total_steps or (patience > 0 and self.state.stale_epochs >= patience)

    def train(self) -> None:
        """Train until the end.

        Raises:
            FloatingPointError: the gradient of a step is NaN or infinite.
            InterruptedRunError: a stop signal was received; a checkpoint has been written.
        """
        self.model.train()
        while not self.is_over:
            self.train_step()
            every = self.recipe.training.checkpoint_every
            if self.state.step % self.recipe.logging.every == 0:
                self._log()
            if self.state.step % self.steps_per_epoch == 0:
                self.evaluate()
                self._save()
            elif self.signals.received or (every and self.state.step % every == 0):
                self._save()
            if self.signals.received and not self.is_over:
                raise InterruptedRunError(signal.Signals(self.signals.received).name)

    def train_step(self) -> None:
        """Train on the next batch."""
        state, recipe = self.state, self.recipe
        state.step += 1
        rows = rows_of(state.step, recipe.seed, self.examples, recipe.training.batch_size)
        encoded = self.task.splits[TRAIN]
        sizes = encoded.sizes[rows]
        totals = {"samples": len(rows), "tokens": int(sizes.sum()), **self.task.totals(TRAIN, rows)}
        loss = torch.zeros((), device=self.device)
        for group, part in enumerate(divide(rows, sizes, recipe.training.max_tokens)):
            batch = batch_of(encoded, part, self.task.targets(TRAIN, part), self.sequences, totals).to(self.device)
            torch.manual_seed(dropout_seed(recipe.seed, state.step, group))
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                share = self.task.loss(self.model(batch), batch) / totals[self.task.term.per]
            share.backward()
            loss += share.detach()
        self._update()
        self._add({"loss": float(loss), "steps": 1, **totals})
        faults.reach("step done")

    def _update(self) -> None:
        rate = self.recipe.optimizer.lr * learning_rate_factor(self.state.step, self._schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        self.optimizer.step()
        if self.optimizer.overflow:
            raise FloatingPointError(
                f"step {self.state.step}: the gradient is NaN or infinite; lower optimizer.lr = "
                f"{self.recipe.optimizer.lr}"
            )
        self.optimizer.zero_grad(set_to_none=True)

    def evaluate(self) -> None:
        """Measure the dev split, and note whether the result is the best one so far."""
        begin = time.monotonic()
        found = self.measure(DEV)
        best = self.state.metrics.get("best")
        is_better = best is None or self._rank(found) > self._rank(best)
        self.state.metrics["dev"] = found
        self.state.stale_epochs = 0 if is_better else self.state.stale_epochs + 1
        if is_better:
            self.state.best_step, self.state.metrics["best"] = self.state.step, found
        epoch = self.state.step // self.steps_per_epoch
        self.writer.write("heldout", self.state.step, {"epoch": epoch, **found})
        shown = "  ".join(f"{name} {value:.4f}" for name, value in found.items())
        self.progress.say(f"epoch {epoch}  dev: {shown}{'  (best)' if is_better else ''}")
        self._begun += time.monotonic() - begin  # an evaluation is not training time

    def _rank(self, metrics: dict[str, float]) -> float:
        """Return the metric that chooses the best epoch; NaN, an undefined correlation, is worse than any number."""
        value = metrics[self.task.metrics[0]]
        return -math.inf if math.isnan(value) else value

    def measure(self, split: str) -> dict[str, float]:
        """Return the metrics of a split with labels."""
        return self.task.measure(split, self.logits(split))

    def logits(self, split: str) -> Logits:
        """Return the logits of all examples of a split."""
        encoded, tokens = self.task.splits[split], self.recipe.training.max_tokens
        return compute_logits(self.model, encoded, self.sequences, tokens, self.bf16)

    def _add(self, values: dict[str, float]) -> None:
        self._sums = {name: self._sums.get(name, 0) + value for name, value in values.items()}
        latest = f"loss {self._sums['loss'] / self._sums['steps']:.3f}"
        self.progress.advance(latest)

    def _log(self) -> None:
        seconds = time.monotonic() - self._begun
        values = {
            "loss": self._sums["loss"] / self._sums["steps"],
            "learning_rate": self.recipe.optimizer.lr * learning_rate_factor(self.state.step, self._schedule),
            "grad_norm": self.optimizer.grad_norm,
            "samples_per_second": self._sums["samples"] / seconds,
            "tokens_per_second": self._sums["tokens"] / seconds,
        }
        self.writer.write("train", self.state.step, values)
        self._sums, self._begun = {}, time.monotonic()

    def _save(self) -> None:
        begin = time.monotonic()
        self.state.interval = {**self._sums, "seconds": begin - self._begun} if self._sums else {}
        self.save(self.state)
        self._begun += time.monotonic() - begin
