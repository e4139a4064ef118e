"""Choice of ZeRO stage and micro-batch for a recipe and a number of GPUs, and estimates of training time.

Times assume an MFU: FLOPs of real tokens (`pipeline.model.flops`) over those of the GPUs' peak rate during computation.
Communication that does not overlap with computation is added.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

from pipeline.config import Recipe
from pipeline.data.masking import typical_count
from pipeline.data.schedule import MANY_STEPS, DataSchedule
from pipeline.engine.accumulation import has_flat_sums
from pipeline.engine.engine import DTYPES
from pipeline.engine.settings import Zero, find_deepspeed_json, read_deepspeed_json
from pipeline.families import get_family
from pipeline.families.base import Auxiliary, Family
from pipeline.model import flops
from pipeline.model.config import EncoderConfig
from pipeline.planning.cluster import Cluster, Traffic, traffic
from pipeline.planning.measure import Build, MicroBatch, layer_bytes
from pipeline.planning.memory import Estimate, estimate
from pipeline.planning.options import STAGES, Options
from pipeline.planning.parameters import Parameters, count_matrices, count_parameters
from pipeline.planning.samples import Samples
from pipeline.runtime.devices import DEVICES
from pipeline.runtime.formatting import GIB

BUSY_TOKENS = 8192
"""Tokens of a micro-batch above which throughput of a GPU hardly increases; an assumption."""
RECOMPUTATION = 4 / 3
"""Ratio of computation with and without activation checkpointing, which repeats the forward pass."""


@dataclass(frozen=True)
class Phase:
    """A phase of a training: a recipe and its samples."""

    name: str
    recipe: Recipe
    samples: Samples
    precision: str

    @cached_property
    def family(self) -> Family[Any]:
        """Form of the recipe's family."""
        return get_family(self.recipe.family).of(self.recipe.model)

    @cached_property
    def auxiliary(self) -> Auxiliary[Any] | None:
        """Auxiliary model, such as a teacher."""
        return self.family.auxiliary(self.recipe.model)

    @cached_property
    def build(self) -> Build:
        """Makes the model with its auxiliary model; one function for all measurements, which are cached."""
        return self.family.measured(self.recipe.model)

    @property
    def parameters(self) -> Parameters:
        """Number of parameters of the model."""
        return count_parameters(self.build, self.recipe.model, self.samples.vocab_size)

    @property
    def muon(self) -> int:
        """Number of weights that Muon updates; 0 with another optimizer."""
        if self.recipe.optimizer.name != "muon":
            return 0
        is_matrix = self.family.parameters.is_matrix
        return count_matrices(self.build, self.recipe.model, self.samples.vocab_size, is_matrix)

    @property
    def global_batch(self) -> int:
        """Number of samples of a step, after the growth of the batch."""
        return self.recipe.batch.global_batch_size

    @property
    def smallest_batch(self) -> int:
        """Number of samples of the smallest step, of which all others have a multiple."""
        return self.recipe.batch.global_batch_size_start or self.global_batch

    @cached_property
    def schedule(self) -> DataSchedule:
        """Batch size and length of each step; of MANY_STEPS if the recipe gives minutes."""
        lengths = (*(longest for longest, _ in self.samples.earlier), self.samples.seq_length)
        steps = MANY_STEPS if self.recipe.schedule.minutes else self.recipe.schedule.total_steps
        return DataSchedule.of(self.recipe.data, self.recipe.batch, steps, lengths)

    @property
    def cost(self) -> flops.Flops:
        """FLOPs of the model by the sizes of samples."""
        return cost_of(self.build, self.recipe.model, self.samples.vocab_size)

    def sample_flops(self, mean_tokens: float, progress: float) -> float:
        """Return the FLOPs of the forward and backward pass of a sample of the mean length.

        Args:
            mean_tokens: mean number of tokens of a sample.
            progress: share of the run, on which the number of masked tokens depends.
        """
        tokens = round(mean_tokens)
        masked = typical_count(self.recipe.masking, tokens, progress, self.recipe.seed)
        return self.cost.of_samples([tokens], masked)

    @property
    def flops_per_sample(self) -> float:
        """FLOPs of the forward and backward pass of a sample of `data.samples`, half-way through the run."""
        return self.sample_flops(self.samples.mean_tokens, 0.5)

    @property
    def flops(self) -> float | None:
        """FLOPs of the whole phase; None if the recipe gives minutes, because the number of steps depends on speed."""
        if self.recipe.schedule.minutes:
            return None
        means, total_steps = self.mean_tokens, self.recipe.schedule.total_steps
        return sum(
            stage.num_samples
            * self.sample_flops(means[stage.dataset], (stage.first - 1 + stage.last) / 2 / total_steps)
            for stage in self.schedule.stages
        )

    @property
    def mean_tokens(self) -> tuple[float, ...]:
        """Mean number of tokens of a sample of each samples directory, in the order of training."""
        return (*(mean for _, mean in self.samples.earlier), self.samples.mean_tokens)

    @property
    def full_steps(self) -> float:
        """Number of steps of `global_batch` samples of `data.samples` that take as many FLOPs as the whole phase."""
        assert self.flops is not None, "asked for a number of steps only"
        return self.flops / (self.global_batch * self.flops_per_sample)

    def most_masked(self, tokens: int) -> int:
        """Return the largest number of masked tokens, over the run, of a sample with this number of tokens."""
        return max(typical_count(self.recipe.masking, tokens, progress, self.recipe.seed) for progress in (0.0, 1.0))

    def least_bytes(self, micro_batch: int, checkpointing: bool) -> int:
        """Return what the layers keep of a micro-batch, which is part of its memory and needs no new measurement."""
        longest, config = self.samples.seq_length, replace(self.recipe.model, activation_checkpointing=checkpointing)
        batch = MicroBatch(micro_batch, longest, self.most_masked(longest))
        build, dtype = get_family(self.recipe.family).build, DTYPES[self.precision]
        return config.num_hidden_layers * layer_bytes(build, config, batch, dtype, "cuda")

    def memory(self, gpus: int, stage: int, micro_batch: int, checkpointing: bool) -> Estimate:
        """Estimate the memory of one GPU for a micro-batch in which every sample is as long as the longest."""
        longest = self.samples.seq_length
        return estimate(
            self.build,
            replace(self.recipe.model, activation_checkpointing=checkpointing),
            self.samples.vocab_size,
            MicroBatch(micro_batch, longest, self.most_masked(longest)),
            zero_settings(stage, self.precision),
            precision=self.precision,
            world_size=gpus,
            kind="cuda",
            accumulating=micro_batch * gpus < self.global_batch,
            muon=self.muon,
            averaged=self.recipe.schedule.average_last > 0,
        )


@cache
def cost_of(build: Build, config: EncoderConfig, vocab_size: int) -> flops.Flops:
    """FLOPs of a model by the sizes of samples, which the phases of one training share."""
    return flops.measure(lambda shape: build(shape, vocab_size), config)


@dataclass(frozen=True)
class Choice:
    """A ZeRO stage and micro-batch that fit."""

    stage: int
    micro_batch: int
    checkpointing: bool
    accumulation: int
    """Number of micro-batches of a step on each GPU."""
    memory: Estimate


@dataclass(frozen=True)
class Timing:
    """Estimated times of a phase."""

    compute: float
    """Seconds of computation of a step."""
    traffic: Traffic
    """Communication of a step."""
    sequences_per_second: float
    steps: int
    """Number of steps of the phase: the recipe's, or as many as its minutes allow."""
    seconds: float
    """Seconds of the whole phase, without evaluations and checkpoints."""

    @property
    def step(self) -> float:
        """Seconds of a step, with communication that does not overlap."""
        return self.compute + self.traffic.exposed


def deepspeed_json(stage: int) -> str:
    """Return the name of the package's DeepSpeed JSON for a stage, as a recipe names it."""
    return f"ds_configs/zero{stage}_{{precision}}.json"


@cache
def zero_settings(stage: int, precision: str) -> Zero:
    """Return the ZeRO settings of the package's DeepSpeed JSON."""
    return Zero.of(read_deepspeed_json(find_deepspeed_json(deepspeed_json(stage).format(precision=precision))))


def choose(phase: Phase, gpus: int, usable_bytes: float, stages: Sequence[int] = STAGES) -> Choice | None:
    """Choose the ZeRO stage, micro-batch and activation checkpointing of a phase; returns None if nothing fits.

    The choice is the lowest stage whose largest fitting micro-batch has at least BUSY_TOKENS tokens, otherwise the
    stage with the largest micro-batch. Activation checkpointing is chosen only if nothing fits without it.

    Args:
        phase: the phase.
        gpus: number of ranks; must divide the global batches.
        usable_bytes: usable memory of a GPU in bytes.
        stages: stages to choose from, in ascending order.
    """
    per_gpu, smallest = phase.global_batch // gpus, phase.smallest_batch // gpus
    busy = min(smallest, math.ceil(BUSY_TOKENS / phase.samples.mean_tokens))
    for checkpointing in (False, True):
        fitting: list[Choice] = []
        sizes = [size for size in reversed(divisors(smallest)) if phase.least_bytes(size, checkpointing) < usable_bytes]
        for stage in stages:
            for size in sizes:
                need = phase.memory(gpus, stage, size, checkpointing)
                if need.total <= usable_bytes:
                    fitting.append(Choice(stage, size, checkpointing, per_gpu // size, need))
                    break
            if fitting and fitting[-1].micro_batch >= busy:
                return fitting[-1]
        if fitting:
            return max(fitting, key=lambda choice: (choice.micro_batch, -choice.stage))
    return None


def divisors(number: int) -> list[int]:
    """Return all divisors in ascending order."""
    low = [d for d in range(1, math.isqrt(number) + 1) if number % d == 0]
    return sorted({*low, *(number // d for d in low)})


def nearest_gpus(global_batch_size: int, gpus: int) -> int:
    """Return the largest divisor of the batch that is at most `gpus`."""
    return max(d for d in divisors(global_batch_size) if d <= gpus)


def timing(phase: Phase, choice: Choice, cluster: Cluster, mfu: float) -> Timing:
    """Estimate the times of a step and of the whole phase.

    Args:
        phase: the phase.
        choice: ZeRO stage and micro-batch.
        cluster: the GPUs.
        mfu: assumed fraction of the peak FLOP/s during computation, recomputation not counted.
    """
    seconds = choice.micro_batch * phase.flops_per_sample / (cluster.device.peak_flops * mfu)
    seconds *= RECOMPUTATION if choice.checkpointing else 1
    zero, itemsize = zero_settings(choice.stage, phase.precision), DTYPES[phase.precision].itemsize
    scatters = has_flat_sums(choice.stage, phase.precision)
    moved = traffic(zero, phase.parameters.total, itemsize, cluster, choice.accumulation, seconds, scatters)
    compute = choice.accumulation * seconds
    step = compute + moved.exposed
    schedule = phase.recipe.schedule
    if schedule.minutes:
        mean_step = step * phase.schedule.mean_size(phase.mean_tokens)
        steps = max(1, int(60 * schedule.minutes / mean_step))
        return Timing(compute, moved, phase.global_batch / step, steps, steps * mean_step)
    return Timing(compute, moved, phase.global_batch / step, schedule.total_steps, phase.full_steps * step)


def remedy(phase: Phase, options: Options) -> str:
    """Return an error message for a phase that does not fit, with options under which it does."""
    gpus, highest = options.gpus, max(options.stages)

    def least(gpus: int, stage: int = highest) -> int:
        return phase.memory(gpus, stage, 1, checkpointing=True).total

    more = [f"--gpus {n}" for n in divisors(phase.smallest_batch) if n > gpus and least(n) <= options.usable]
    larger = [f"--gpu {name}" for name, device in DEVICES.items() if least(gpus) <= options.usable_of(device)]
    higher = [f"--stages [{STAGES[-1]}]"] if least(gpus, STAGES[-1]) <= options.usable else []
    remedies = more[:1] + larger[:1] + higher
    return (
        f"{phase.name} does not fit on {gpus} x {options.device.name}: ZeRO-{highest} with activation checkpointing "
        f"and a micro-batch of 1 needs {least(gpus) / GIB:.1f} GiB on each, {options.usable / GIB:.1f} are usable; "
        + (f"it fits with {' or '.join(remedies)}" if remedies else "choose a smaller model")
    )
