"""One side of `benchmarks/training.py`, in a separate process: `python -m benchmarks.step_sides JSON FD`.

Reads a number of training steps per line from standard input, performs these steps on the batches in turn, and answers
with a line of JSON on the file descriptor FD (libraries print to standard output): the seconds, those of processor
time, the last loss, and the peak of the resident set. Sides:

- `this`: the pipeline's own engine, DeepSpeed included, with exact LAMB.
- `plain`: the same model and LAMB on one rank without DeepSpeed (`benchmarks/plain_engine.py`).
- `stock`: Hugging Face's class of pre-training as its documentation trains it: padded batches, attention by SDPA,
  logits of every position, `torch.optim.AdamW(foreach=True)`, bf16 by autocast where the processor has it.
- `stock_lamb`: the same with timm's LAMB.
- `tuned`: what its users can do without changing the library: the allocator keeps memory (environment), padding only
  to the longest sequence, the head on masked positions only, fused AdamW.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from torch import Tensor

from benchmarks.batches import generated_samples, make_batch, real_batches, recipe_batches
from benchmarks.family_peers import peer
from benchmarks.huggingface import (
    LossOf,
    MakeOptimizer,
    Step,
    adamw,
    huggingface,
    plain_step,
    stock_loss,
    tuned_loss,
)
from benchmarks.lamb import MODELS, VOCAB_SIZE
from benchmarks.oracles import timm_lamb
from benchmarks.plain_engine import PlainEngine
from pipeline.config import Recipe, parse
from pipeline.data.batch import Batch
from pipeline.engine.engine import DTYPES, EngineConfig, build, choose_precision, read_settings, start
from pipeline.families import get_family
from pipeline.families.base import Family
from pipeline.model.config import EncoderConfig
from pipeline.optim.lamb import OptimizerConfig

KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(2**32),
    "MALLOC_TRIM_THRESHOLD_": "-1",
    "MALLOC_TOP_PAD_": str(2**28),
}
"""Environment of `tuned`: glibc does not return freed memory to the system, as the pipeline sets it by mallopt."""


@dataclass(frozen=True)
class Job:
    """What a side does."""

    side: str
    """Name in `SIDES`."""
    sequences: int
    """Sequences of a step, over all ranks."""
    ranks: int = 1
    threads: int = 1
    """Threads of a rank."""
    model: str = "mini"
    """Size of the model."""
    family: str = "bert"
    recipe: str = ""
    """Recipe that gives family, shape, masking and dropout instead; empty: none."""
    length: int = 128
    """Tokens of a sequence; with samples, what stock Hugging Face pads to."""
    masked: int = 20
    """Masked tokens of a sequence."""
    samples: str = ""
    """Samples directory that gives the sequences instead; empty: random tokens."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    deepspeed: str = "ds_configs/zero0_{precision}.json"
    """DeepSpeed JSON of the pipeline's engine."""


def main(job: Job, descriptor: int) -> None:
    """Answer requests until the end of standard input."""
    answers = os.fdopen(descriptor, "w")
    step = SIDES[job.side](job)
    batches = the_batches(job)
    number = 0
    for line in sys.stdin:
        begin, begin_cpu = time.perf_counter(), time.process_time()
        for _ in range(int(line)):
            loss = step(batches[number % len(batches)])
            number += 1
        loss_value = float(loss)
        answer = {
            "seconds": time.perf_counter() - begin,
            "cpu_seconds": time.process_time() - begin_cpu,
            "loss": loss_value,
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
        print(json.dumps(answer), file=answers, flush=True)


def the_batches(job: Job) -> list[Batch]:
    """The rank's share of the sequences, the same for all sides."""
    count = job.sequences // job.ranks
    if job.recipe:
        with TemporaryDirectory() as temporary:
            recipe, place = recipe_of(job), Path(temporary) / "samples"
            samples = Path(job.samples or generated_samples(recipe, place, 8 * count, job.length, VOCAB_SIZE))
            return recipe_batches(recipe, samples, count, 4)
    if job.samples:
        return real_batches(Path(job.samples), count, 8)
    share = job.masked / job.length
    return [make_batch([job.length] * count, VOCAB_SIZE, seed, share) for seed in range(4)]


def recipe_of(job: Job) -> Recipe:
    """Return the recipe whose model is trained."""
    return parse(["--recipe", job.recipe])


def model_of(job: Job) -> tuple[Family[Any], EncoderConfig]:
    """Return family and shape, those of a recipe if one is given; families other than BERT otherwise have the sizes of
    BERT's models.
    """
    if job.recipe:
        recipe = recipe_of(job)
        return get_family(recipe.family).of(recipe.model), recipe.model
    family, shape = get_family(job.family), MODELS[job.model]
    if family.name == "bert":
        return family, shape
    return family, family.config(**{field.name: getattr(shape, field.name) for field in fields(EncoderConfig)})


def this(job: Job) -> Step:
    """Return a step of the pipeline's engine."""
    engine_config = EngineConfig(job.deepspeed, job.precision)
    device = start(engine_config)
    torch.manual_seed(0)
    family, config = model_of(job)
    model, auxiliary = family.build(config, VOCAB_SIZE), family.auxiliary(config)
    if auxiliary is not None:
        auxiliary.attach(model, auxiliary.build(config, VOCAB_SIZE))
    engine = build(
        model,
        family.parameters,
        OptimizerConfig(lr=1e-4),
        read_settings(engine_config),
        device=device,
        micro_batch_size=job.sequences // job.ranks,
        accumulation_steps=1,
    )

    def step(batch: Batch) -> Tensor:
        loss: Tensor = engine.forward(batch).loss
        engine.backward(loss)
        engine.step(1e-4)
        return loss.detach()

    return step


def plain(job: Job) -> Step:
    """Return a step of the engine without DeepSpeed, in a process that DeepSpeed's engine has prepared likewise."""
    device = start(EngineConfig(job.deepspeed, job.precision))
    dtype = DTYPES[choose_precision(job.precision)]
    return PlainEngine(MODELS[job.model], VOCAB_SIZE, device, dtype).step


def theirs(job: Job, make: MakeOptimizer, loss_of: LossOf) -> Step:
    """Return a step of a plain loop over the family's class of pre-training."""
    torch.set_num_threads(job.threads)
    bf16 = choose_precision(job.precision) == "bf16"
    width, device = job.length, torch.device("cpu")
    if job.recipe:
        model = peer(recipe_of(job), VOCAB_SIZE).train()
        return plain_step(model, lambda batch: model(batch, width), make, device, bf16)
    family, config = model_of(job)
    return huggingface(config, VOCAB_SIZE, device, bf16=bf16, make=make, loss_of=loss_of, width=width, family=family)


SIDES: dict[str, Callable[[Job], Step]] = {
    "this": this,
    "plain": plain,
    "stock": partial(theirs, make=partial(adamw, foreach=True), loss_of=stock_loss),
    "stock_lamb": partial(
        theirs, make=lambda parameters: timm_lamb()(parameters, lr=1e-4, weight_decay=0.01), loss_of=stock_loss
    ),
    "tuned": partial(theirs, make=partial(adamw, fused=True), loss_of=tuned_loss),
}

if __name__ == "__main__":
    main(Job(**json.loads(sys.argv[1])), int(sys.argv[2]))
