"""Configuration of the training loop from a recipe, its samples and the engine."""

import numpy as np

from pipeline.config import Recipe
from pipeline.data.batch import Batch
from pipeline.data.loader import BatchDivision
from pipeline.data.masking import Draw
from pipeline.data.packing import longest_sequence
from pipeline.engine.engine import DTYPES, Engine
from pipeline.families import get_family
from pipeline.model.flops import measure
from pipeline.optim.schedule import learning_rate_factor, steps_averaged
from pipeline.runlog.metrics import peak_flops
from pipeline.runlog.schedules import Schedule
from pipeline.training.trainer import LoopConfig
from preprocessing.schema import Manifest


def schedules(recipe: Recipe) -> tuple[Schedule, ...]:
    """Return the schedules that reports draw over the whole run."""

    def rate(step: int) -> float:
        return recipe.optimizer.lr * learning_rate_factor(step, recipe.schedule)

    return (Schedule("learning_rate", "Learning rate", "", rate),)


def loop_config(recipe: Recipe, division: BatchDivision, samples: Manifest, engine: Engine) -> LoopConfig:
    """Return the configuration of the training loop.

    FLOPs and masked tokens are measured on the model and on the recipe's masking; the peak FLOP/s of the device may be
    measured too, which takes up to some seconds.
    """
    family = get_family(recipe.family)
    flops = measure(lambda config: family.build(config, samples.vocab_size), recipe.model).flops
    longest = np.array([longest_sequence(samples, family.template)])
    masked = recipe.masking.counts(longest, Draw(recipe.seed, np.zeros(1, np.int64), np.zeros(1, np.int64)))
    nominal = flops(
        num_tokens=int(longest[0]), sum_squared_lengths=int(longest[0] ** 2), num_masked=int(masked[0]), num_samples=1
    )

    def count(batch: Batch) -> dict[str, float]:
        real = flops(
            num_tokens=batch.counts["tokens"],
            sum_squared_lengths=int(batch.lengths.square().sum()),
            num_masked=batch.counts["masked"],
            num_samples=batch.counts["samples"],
        )
        return {**batch.counts, "flops": real, "nominal_flops": batch.num_samples * nominal}

    return LoopConfig(
        total_steps=recipe.schedule.total_steps,
        accumulation_steps=division.accumulation,
        global_batch_size=division.global_batch_size,
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
