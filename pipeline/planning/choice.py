"""What a recipe takes on a given number of GPUs: which ZeRO stage and micro-batch fit, how long it trains.

Times rest on an assumed MFU: FLOPs of real tokens (`Family.training_flops`) over what the GPUs could do at their peak
while they compute. Communication that nothing hides comes on top.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from pipeline.config import Recipe
from pipeline.data.masking import Draw
from pipeline.engine.engine import DTYPES
from pipeline.engine.settings import Zero, find, load
from pipeline.model.flops import training_flops
from pipeline.planning.activations import MicroBatch
from pipeline.planning.cluster import Cluster, Traffic, traffic
from pipeline.planning.memory import Estimate, estimate
from pipeline.planning.options import GIB, STAGES, usable
from pipeline.planning.step_blocks import Parameters
from pipeline.runtime.devices import Device
from preprocessing.schema import MANIFEST_NAME, PAIR_SPECIAL_TOKENS, Manifest
from preprocessing.shards import read_manifest

BERT_VOCABULARY = 30_522
"""Tokens of the published one, and of the one that `python -m preprocessing` trains unless told otherwise."""
BUSY_TOKENS = 8192
"""Tokens of a micro-batch from which on a larger one makes a GPU hardly faster; an assumption."""
RECOMPUTATION = 4 / 3
"""Computation under activation checkpointing over that without: the forward pass once more."""


@dataclass(frozen=True)
class Samples:
    """What the plan must know of the data."""

    vocab_size: int
    """Number of token ids."""
    seq_length: int
    """Longest sample, in tokens with special ones."""
    mean_tokens: float
    """Mean length of a sample, in tokens with special ones."""
    assumed: tuple[str, ...] = ()
    """What of it is assumed, because there are no samples yet, and the options that say otherwise."""


@dataclass(frozen=True)
class Phase:
    """A recipe and its data."""

    name: str
    recipe: Recipe
    samples: Samples
    parameters: Parameters
    precision: str

    @property
    def num_samples(self) -> int:
        """Samples trained on, repeated ones counted."""
        return self.recipe.schedule.total_steps * self.recipe.batch.global_batch_size

    @property
    def flops_per_sample(self) -> float:
        """Forward and backward, of a sample of the mean length."""
        tokens = round(self.samples.mean_tokens)
        return training_flops(
            self.recipe.model,
            self.samples.vocab_size,
            num_tokens=tokens,
            sum_squared_lengths=tokens**2,
            num_masked=self.masked(tokens),
            num_samples=1,
        )

    @property
    def flops(self) -> float:
        """Of the whole training."""
        return self.num_samples * self.flops_per_sample

    def masked(self, tokens: int) -> int:
        """Masked tokens of a sample."""
        draw = Draw(self.recipe.seed, np.zeros(1, np.int64), np.zeros(1, np.int64))
        return int(self.recipe.masking.counts(np.array([tokens]), draw)[0])


@dataclass(frozen=True)
class Choice:
    """A way to train that fits."""

    stage: int
    micro_batch: int
    checkpointing: bool
    accumulation: int
    """Micro-batches of a step on each GPU."""
    memory: Estimate


@dataclass(frozen=True)
class Timing:
    """Of one phase."""

    compute: float
    """Seconds of a step that are computation."""
    traffic: Traffic
    """Communication of a step."""
    sequences_per_second: float
    seconds: float
    """Of the whole training, without evaluation and checkpoints."""

    @property
    def step(self) -> float:
        """Seconds of a step."""
        return self.compute + self.traffic.exposed


def read_samples(recipe: Recipe, seq_length: int | None, mean_tokens: float | None, vocab_size: int | None) -> Samples:
    """From the recipe's samples where they exist; what is given has precedence, and what is not known is assumed."""
    directory, assumed = Path(recipe.data.samples), []
    if (directory / MANIFEST_NAME).is_file():
        manifest: Manifest = read_manifest(directory)
        train = manifest.splits["train"]
        vocab_size, seq_length = vocab_size or manifest.vocab_size, seq_length or manifest.max_seq_length
        if mean_tokens is None and train.rows:
            mean_tokens = train.tokens / train.rows + PAIR_SPECIAL_TOKENS
    if seq_length is None:
        seq_length, source = length_by_name(directory, recipe.model.max_position_embeddings)
        assumed.append(f"up to {seq_length} tokens a sample ({source}; --seq_length)")
    if vocab_size is None:
        vocab_size = BERT_VOCABULARY
        assumed.append(f"a vocabulary of {vocab_size:,} (BERT's; --vocab_size)")
    return Samples(vocab_size, seq_length, min(mean_tokens or seq_length, seq_length), tuple(assumed))


def length_by_name(samples: Path, longest: int) -> tuple[int, str]:
    """Length of samples that do not exist yet, and what says so: their directory's name, else the model's positions."""
    named = re.fullmatch(r"samples(\d+)(-\w+)?", samples.name)
    if named and int(named[1]) <= longest:
        return int(named[1]), "the name of data.samples"
    return longest, "model.max_position_embeddings"


@cache
def zero_settings(stage: int, precision: str) -> Zero:
    """Of the project's DeepSpeed JSON."""
    return Zero.of(load(find(deepspeed_json(stage).format(precision=precision))))


def deepspeed_json(stage: int) -> str:
    """Its name in a recipe."""
    return f"ds_configs/zero{stage}_{{precision}}.json"


def memory(phase: Phase, gpus: int, stage: int, micro_batch: int, checkpointing: bool, accumulation: int) -> Estimate:
    """Of one GPU when every sample is as long as the longest: a micro-batch may be such."""
    longest = phase.samples.seq_length
    config = replace(phase.recipe.model, activation_checkpointing=checkpointing)
    return estimate(
        phase.parameters,
        config,
        phase.samples.vocab_size,
        MicroBatch.uniform(micro_batch, longest, phase.masked(longest)),
        zero_settings(stage, phase.precision),
        precision=phase.precision,
        world_size=gpus,
        kind="cuda",
        accumulating=accumulation > 1,
    )


def choose(phase: Phase, gpus: int, usable_bytes: float, stages: Sequence[int] = STAGES) -> Choice | None:
    """The lowest stage with a micro-batch that keeps a GPU busy, and its largest that fits and divides the batch.

    Where no stage keeps it busy: the one with the largest micro-batch. Activation checkpointing only where nothing fits
    without it. None where nothing fits at all.

    Args:
        phase: what is trained.
        gpus: ranks; must divide the global batch.
        usable_bytes: of a GPU's memory.
        stages: from which to choose.
    """
    per_gpu = phase.recipe.batch.global_batch_size // gpus
    busy = min(per_gpu, math.ceil(BUSY_TOKENS / phase.samples.mean_tokens))
    for checkpointing in (False, True):
        fitting = [
            choice for stage in stages if (choice := _largest(phase, gpus, stage, checkpointing, per_gpu, usable_bytes))
        ]
        enough = [choice for choice in fitting if choice.micro_batch >= busy]
        if enough:
            return enough[0]
        if fitting:
            return max(fitting, key=lambda choice: (choice.micro_batch, -choice.stage))
    return None


def _largest(
    phase: Phase, gpus: int, stage: int, checkpointing: bool, per_gpu: int, usable_bytes: float
) -> Choice | None:
    for size in sorted(divisors(per_gpu), reverse=True):
        need = memory(phase, gpus, stage, size, checkpointing, per_gpu // size)
        if need.total <= usable_bytes:
            return Choice(stage, size, checkpointing, per_gpu // size, need)
    return None


def divisors(number: int) -> list[int]:
    """All, rising."""
    low = [d for d in range(1, math.isqrt(number) + 1) if number % d == 0]
    return sorted({*low, *(number // d for d in low)})


def nearest_gpus(global_batch_size: int, gpus: int) -> int:
    """The largest number of GPUs, at most `gpus`, over which the batch divides."""
    return max(d for d in divisors(global_batch_size) if d <= gpus)


def timing(phase: Phase, choice: Choice, cluster: Cluster, mfu: float) -> Timing:
    """How long a step and the training take.

    Args:
        phase: what is trained.
        choice: how.
        cluster: where.
        mfu: assumed share of the peak while computing; recomputation counts nothing.
    """
    seconds = choice.micro_batch * phase.flops_per_sample / (cluster.device.peak_flops * mfu)
    seconds *= RECOMPUTATION if choice.checkpointing else 1
    moved = traffic(
        zero_settings(choice.stage, phase.precision),
        phase.parameters.total,
        DTYPES[phase.precision].itemsize,
        cluster,
        choice.accumulation,
        seconds,
    )
    compute = choice.accumulation * seconds
    step = compute + moved.exposed
    batch = phase.recipe.batch.global_batch_size
    return Timing(compute, moved, batch / step, phase.recipe.schedule.total_steps * step)


def remedy(
    phase: Phase, gpus: int, device: Device, devices: dict[str, Device], headroom: float, stages: Sequence[int] = STAGES
) -> str:
    """What would make a phase fit that does not: more GPUs, larger ones, or a higher stage.

    Args:
        phase: what is trained.
        gpus: too few.
        device: too small.
        devices: by the name on the command line.
        headroom: share of the memory that stays free.
        stages: from which to choose.
    """
    highest = max(stages)
    least = memory(phase, gpus, highest, 1, True, 2).total
    more = next(
        (
            number
            for number in divisors(phase.recipe.batch.global_batch_size)
            if number > gpus and memory(phase, number, highest, 1, True, 2).total <= usable(device, headroom)
        ),
        None,
    )
    larger = [name for name, other in devices.items() if least <= usable(other, headroom)]
    remedies = [f"--gpus {more}"] if more else []
    remedies += [f"--gpu {larger[0]}"] if larger else []
    if memory(phase, gpus, STAGES[-1], 1, True, 2).total <= usable(device, headroom):
        remedies.append(f"--stages [{STAGES[-1]}]")
    return (
        f"{phase.name} does not fit on {gpus} x {device.name}: ZeRO-{highest} with activation checkpointing and a "
        f"micro-batch of 1 needs {least / GIB:.1f} GiB on each, {usable(device, headroom) / GIB:.1f} are usable; "
        + (f"it fits with {' or '.join(remedies)}" if remedies else "choose a smaller model")
    )
