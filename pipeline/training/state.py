"""The state of a run, and the numbers and functions of its training loop."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pipeline.data.batch import Batch
from pipeline.runlog.terms import Term


@dataclass
class TrainState:
    """Progress of a run: everything in a checkpoint except weights and moments."""

    step: int = 0
    """Number of completed optimizer steps."""
    consumed_samples: int = 0
    """Number of samples that these steps consumed."""
    evaluated_step: int = -1
    """Step of the last evaluation; -1 if there was none."""
    skipped_steps: int = 0
    """Number of steps skipped because of infinite or NaN gradients."""
    skipped_in_a_row: int = 0
    """Number of skipped steps since the last one that was not skipped."""
    interval: dict[str, float] = field(default_factory=dict)
    """Sums since the last log line over all ranks, with the keys `seconds` and `waited`; empty right after a log
    line."""


@dataclass(frozen=True)
class LoopConfig:
    """Numbers and functions of the training loop, from the recipe."""

    total_steps: int
    accumulation_steps: Callable[[int], int]
    """Optimizer step, from 1 -> its micro-batches on each rank."""
    batch_size: Callable[[int], int]
    """Optimizer step, from 1 -> its samples over all ranks."""
    seed: int
    learning_rate: Callable[[int], float]
    """Optimizer step, from 1 -> learning rate."""
    terms: tuple[Term, ...]
    """The terms of the loss."""
    count: Callable[[Batch, int], Mapping[str, float]]
    """(micro-batch, its optimizer step) -> its counts, as `Totals` adds them."""
    peak_flops: float
    """Peak FLOP/s of one device."""
    log_every: int
    save_every: int
    evaluate_every: int
    averaged: Callable[[int], int] = lambda step: 0
    """Optimizer step -> number of steps whose weights the average holds after it; 0: there is no average."""
