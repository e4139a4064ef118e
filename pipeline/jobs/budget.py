"""A budget in minutes: the number of steps that it allows, measured once and recorded in the run's recipe.

With `schedule.minutes`, `schedule.total_steps` is 0 until the speed has been measured, before the first step. Then it
is a number like any other: recipe.toml and all checkpoints hold it, every schedule is a function of it, and a resumed
run reads it from recipe.toml. The budget covers steps and evaluations. An evaluation is estimated: a sample takes a
third of its time in training, because the backward pass computes twice as much as the forward pass. Checkpoints are
written while training continues and are not counted; neither are the start, the measurement and restarts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.config import Recipe
from pipeline.data.loader import BatchDivision
from pipeline.data.schedule import MANY_STEPS
from pipeline.engine.engine import Engine
from pipeline.jobs.run_directory import record, recorded_recipe
from pipeline.jobs.samples import data_schedule, heldout_samples, training_batches
from pipeline.runtime import distributed
from pipeline.training.speed import MOST_STEPS, WARMUP_STEPS, seconds_per_step
from pipeline.training.state import TrainState
from pipeline.training.supervision import Supervisor
from preprocessing.shards import SampleDataset

MOST_SHARE, MOST_SECONDS = 0.05, 30.0
"""Limits of the measurement: a share of the budget, and seconds."""


@dataclass(frozen=True)
class Budget:
    """A budget and what it allows; the fields of the event `budget`."""

    minutes: float
    step_seconds: float
    """Measured time of a step."""
    total_steps: int


def with_total_steps(recipe: Recipe, total_steps: int) -> Recipe:
    """Return the recipe with another number of steps."""
    return replace(recipe, schedule=replace(recipe.schedule, total_steps=total_steps))


def with_recorded_steps(recipe: Recipe) -> Recipe:
    """Return a recipe with a budget with the number of steps that its run has recorded, or 0 if it has recorded none.

    A recipe without a budget is returned unchanged. Only the main rank calls it.

    Raises:
        ValueError: the run's recipe.toml cannot be read.
    """
    if not recipe.schedule.minutes:
        return recipe
    before = (recorded_recipe(Path(recipe.run_dir)) or {}).get("schedule", {})
    same = before.get("minutes") == recipe.schedule.minutes
    return with_total_steps(recipe, before["total_steps"] if same else 0)


def measure(
    recipe: Recipe,
    division: BatchDivision,
    datasets: Sequence[SampleDataset],
    heldout: SampleDataset,
    engine: Engine,
    supervisor: Supervisor,
) -> Budget:
    """Measure the speed, and record the recipe with the number of steps; all ranks call it together.

    Steps of the final batch size and length are measured, with the mask rate of an average token of the run, so that a
    measurement that ends early is not of the first rates alone. Smaller steps count by their tokens.

    Raises:
        ValueError: the budget does not allow a single step, or samples cannot be read.
        OSError: samples cannot be read, or recipe.toml not be written.
        InterruptedRunError: a rank received a stop signal.
    """

    def between() -> None:
        supervisor.beat("starting")
        supervisor.leave_if_asked()

    minutes = recipe.schedule.minutes
    manifests = [dataset.manifest for dataset in datasets]
    splits = [manifest.splits["train"] for manifest in manifests]
    mean_tokens = [split.tokens / split.rows for split in splits]
    schedule = data_schedule(with_total_steps(recipe, MANY_STEPS), manifests)
    average = without_schedules(recipe, schedule.mean_progress(mean_tokens))
    average = with_total_steps(average, WARMUP_STEPS + MOST_STEPS)
    constant = data_schedule(average, manifests[-1:])
    batches = training_batches(average, division, constant, datasets[-1:], TrainState(), engine.device)
    try:
        limit = min(MOST_SECONDS, MOST_SHARE * 60 * minutes)
        step_seconds = seconds_per_step(engine, batches, division.accumulation, limit, between)
    finally:
        batches.close()
    evaluated = sum(heldout_samples(recipe, len(heldout))) / division.global_batch_size
    size = schedule.mean_size(mean_tokens)
    averages = recipe.schedule.average_last > 0
    total = steps_within(minutes, step_seconds, evaluated, recipe.evaluation.every, size, averages=averages)
    with distributed.together("record the recipe"):
        if distributed.is_main():
            record(with_total_steps(recipe, total))
    return Budget(minutes, round(step_seconds, 4), total)


def without_schedules(recipe: Recipe, progress: float) -> Recipe:
    """Return the recipe with the final batch size and samples, and the mask rate at a share of the run, in all steps.

    A mask rate changes linearly, so that its mean is that at the mean share.
    """
    data, batch = replace(recipe.data, earlier_samples=[], until=[]), replace(recipe.batch, global_batch_size_start=0)
    return replace(recipe, data=data, batch=batch, masking=recipe.masking.at(progress))


def steps_within(
    minutes: float, step_seconds: float, evaluated: float, every: int, size: float = 1.0, averages: bool = False
) -> int:
    """Return the number of steps that end, with the evaluations between them, within a time.

    The model is evaluated before the first step, after every `every` steps and after the last one; then its averaged
    weights are, if there are any.

    Args:
        minutes: the time.
        step_seconds: time of a step of the final size.
        evaluated: held-out samples of an evaluation, in global batches.
        every: steps between evaluations; 0: none.
        size: mean size of a step as a share of the final size.
        averages: whether there are averaged weights.

    Raises:
        ValueError: not a single step does.
    """
    evaluation = evaluated * step_seconds / 3 if every else 0.0
    per_step = size * step_seconds + (evaluation / every if every else 0.0)
    at_ends = (3 if averages else 2) * evaluation
    total = int((60 * minutes - at_ends) / per_step)
    if total < 1:
        least = (at_ends + per_step) / 60
        raise ValueError(
            f"schedule.minutes = {minutes:g}: a step takes {step_seconds:.2g} s and an evaluation {evaluation:.2g} s, "
            f"so that a single step needs {least:.2g} minutes; give more, or lower batch.global_batch_size or "
            "evaluation.samples"
        )
    return total
