"""The measured time of a training step."""

import time
from collections.abc import Callable, Iterator

import torch

from pipeline.data.batch import Batch
from pipeline.engine.engine import Engine
from pipeline.engine.trial import on_trial
from pipeline.runtime import distributed

WARMUP_STEPS = 2
"""Steps before the measured ones, in which kernels are compiled and caches filled."""
MOST_STEPS = 20
"""Most steps that are measured."""


def seconds_per_step(
    engine: Engine,
    batches: Iterator[Batch],
    accumulation: int,
    most_seconds: float,
    between: Callable[[], None],
    clock: Callable[[], float] = time.monotonic,
) -> float:
    """Measure the mean time of a training step; all ranks call it together, and get the same number.

    The steps are real ones, forward and backward passes and update, but their learning rate is 0, and what they change
    is restored (`on_trial`). Loading of batches does not overlap with the computation of a step here, so that the time
    is measured slightly too long.

    Args:
        engine: model and optimizer.
        batches: at least (WARMUP_STEPS + MOST_STEPS) * accumulation micro-batches.
        accumulation: micro-batches of a step.
        most_seconds: the last measured step is the first one that ends after this time.
        between: is called before each step.
        clock: seconds.

    Raises:
        ValueError, OSError: a batch cannot be read.
        Exception: an error of `between`.
    """
    begin = elapsed = 0.0
    measured = -WARMUP_STEPS
    with on_trial(engine):
        while measured < MOST_STEPS and (measured < 1 or elapsed < most_seconds):
            between()
            _step(engine, batches, accumulation)
            measured += 1
            elapsed = distributed.all_reduce_max(clock() - begin, engine.device)
            if measured == 0:
                begin = clock()
    return elapsed / measured


def _step(engine: Engine, batches: Iterator[Batch], accumulation: int) -> None:
    with distributed.together("read the samples"):
        step = [next(batches) for _ in range(accumulation)]
    for batch in step:
        engine.backward(engine.forward(batch.to(engine.device, non_blocking=True)).loss)
        engine.step(0.0)
    if engine.device.type == "cuda":
        torch.cuda.synchronize(engine.device)
