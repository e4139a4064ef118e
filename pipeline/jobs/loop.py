"""Configuration of the training loop from a recipe, its samples and the engine."""

from functools import lru_cache

from pipeline.config import Recipe
from pipeline.data.batch import Batch
from pipeline.data.loader import BatchDivision
from pipeline.data.masking import typical_count
from pipeline.data.schedule import DataSchedule, progress
from pipeline.engine.engine import DTYPES, Engine
from pipeline.families import get_family
from pipeline.jobs.samples import division_at
from pipeline.model.flops import measure
from pipeline.optim.schedule import learning_rate_factor, steps_averaged
from pipeline.runlog.metrics import peak_flops
from pipeline.runlog.schedules import Schedule
from pipeline.training.state import LoopConfig


def schedules(recipe: Recipe, data: DataSchedule) -> tuple[Schedule, ...]:
    """Return the schedules that reports draw: the learning rate, and those of the data that change during the run."""
    total_steps = recipe.schedule.total_steps

    def rate(step: int) -> float:
        return recipe.optimizer.lr * learning_rate_factor(step, recipe.schedule)

    def masked(step: int) -> float:
        longest = data.sequence_length(step)
        return typical_count(recipe.masking, longest, progress(step, total_steps), recipe.seed) / longest

    found = [Schedule("learning_rate", "Learning rate", "", rate)]
    for schedule in (
        Schedule("mask_rate", "Mask rate", "share of the longest sample", masked),
        Schedule("batch_size", "Batch size", "samples", data.batch_size),
        Schedule("sequence_length", "Longest sequence", "tokens", data.sequence_length),
    ):
        if schedule.value(1) != schedule.value(total_steps):
            found.append(schedule)
    return tuple(found)


def loop_config(
    recipe: Recipe, division: BatchDivision, schedule: DataSchedule, vocab_size: int, engine: Engine
) -> LoopConfig:
    """Return the configuration of the training loop.

    FLOPs are measured on the model; the peak FLOP/s of the device may be measured too, which takes up to some seconds.
    """
    family = get_family(recipe.family).of(recipe.model)
    build = family.measured(recipe.model)
    flops = measure(lambda config: build(config, vocab_size), recipe.model).of_samples

    @lru_cache(maxsize=1)
    def nominal(step: int) -> float:
        longest = schedule.sequence_length(step)
        masked = typical_count(recipe.masking, longest, progress(step, recipe.schedule.total_steps), recipe.seed)
        return flops([longest], masked)

    def count(batch: Batch, step: int) -> dict[str, float]:
        real = flops(batch.lengths, batch.counts["masked"])
        return {**batch.counts, "flops": real, "nominal_flops": batch.num_samples * nominal(step)}

    return LoopConfig(
        total_steps=recipe.schedule.total_steps,
        accumulation_steps=lambda step: division_at(schedule.stage(step), division).accumulation,
        batch_size=schedule.batch_size,
        seed=recipe.seed,
        terms=family.terms,
        learning_rate=lambda step: recipe.optimizer.lr * learning_rate_factor(step, recipe.schedule),
        count=count,
        peak_flops=peak_flops(engine.device, DTYPES[engine.precision], recipe.logging.peak_tflops),
        log_every=recipe.logging.every,
        save_every=recipe.checkpoint.every,
        evaluate_every=recipe.evaluation.every,
        averaged=lambda step: steps_averaged(step, recipe.schedule.total_steps, recipe.schedule.average_last),
    )
