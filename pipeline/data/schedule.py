"""Schedules of the data: fraction of masked tokens, batch size and sequence length as pure functions of the step.

Nothing of a schedule is stored in a checkpoint: the samples of a step follow from its number and the recipe. Batch
sizes are multiples of the first one, so that they depend neither on the number of ranks nor on the micro-batch (law 2).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from pipeline.data.config import BatchConfig, DataConfig, MaskRate

MANY_STEPS = 10_000
"""Steps of a run for which the mean size of a step is computed while their number is unknown; it hardly matters."""


def progress(step: float, total_steps: int) -> float:
    """Returns the share of the run before a step, in [0, 1).

    Args:
        step: optimizer step, from 1, or the mean of several.
        total_steps: steps of the run.
    """
    return (step - 1) / total_steps


def mask_rate(step: int, masking: MaskRate, total_steps: int) -> float:
    """Returns the fraction of a sample's tokens that are masked in a step; arguments as in `progress`."""
    return masking.at(progress(step, total_steps)).probability


@dataclass(frozen=True)
class Stage:
    """Consecutive steps that take equally many samples of one samples directory."""

    first: int
    """First step, from 1."""
    last: int
    """Last step."""
    dataset: int
    """Number of the samples directory, in the order of training."""
    batch_size: int
    """Samples of each step, over all ranks."""
    scale: int
    """Factor, contained in `batch_size`, by which a micro-batch has more samples than `batch.micro_batch_size`."""
    consumed: int
    """Samples of this directory that the steps before `first` consumed."""

    @property
    def num_samples(self) -> int:
        """Samples of all steps."""
        return (self.last - self.first + 1) * self.batch_size


@dataclass(frozen=True)
class DataSchedule:
    """Batch size, samples directory and position in it of every step."""

    total_steps: int
    """Steps of the run."""
    global_batch_size: int
    """Samples of a step at the end of the growth."""
    lengths: tuple[int, ...]
    """Tokens of the longest sample of each samples directory, in the order of training."""
    until: tuple[float, ...] = ()
    """Share of the steps at which each directory but the last one ends, in ascending order."""
    global_batch_size_start: int = 0
    """Samples of the first step, a divisor of `global_batch_size`; 0: the batch does not grow."""
    growth_proportion: float = 1.0
    """Share of the steps over which the batch grows."""
    scale_with_length: bool = False
    """Whether directories of shorter samples have more samples in a step."""

    @classmethod
    def of(cls, data: DataConfig, batch: BatchConfig, total_steps: int, lengths: tuple[int, ...]) -> "DataSchedule":
        """Returns the schedule of a recipe; `lengths` as in the field of this name."""
        return cls(
            total_steps,
            batch.global_batch_size,
            lengths,
            tuple(data.until),
            batch.global_batch_size_start,
            batch.growth_proportion,
            batch.scale_with_length,
        )

    def batch_size(self, step: int) -> int:
        """Returns the samples of a step over all ranks."""
        return self.stage(step).batch_size

    def sequence_length(self, step: int) -> int:
        """Returns the tokens of the longest sample that a step may have, special tokens included."""
        return self.lengths[self._dataset(step)]

    def consumed(self, step: int) -> int:
        """Returns the samples that the first `step` steps consume, of all directories together."""
        begun = [stage for stage in self.stages if stage.first <= step]
        return sum(stage.batch_size * (min(stage.last, step) - stage.first + 1) for stage in begun)

    def mean_size(self, mean_tokens: Sequence[float]) -> float:
        """Returns the tokens of all steps as a share of those of equally many steps of the final size.

        Args:
            mean_tokens: mean number of tokens of a sample of each samples directory.
        """
        tokens = sum(stage.num_samples * mean_tokens[stage.dataset] for stage in self.stages)
        return tokens / (self.total_steps * self.global_batch_size * mean_tokens[-1])

    def mean_progress(self, mean_tokens: Sequence[float]) -> float:
        """Returns the share of the run at which an average token is read; arguments as in `mean_size`."""
        tokens = [stage.num_samples * mean_tokens[stage.dataset] for stage in self.stages]
        middles = [progress((stage.first + stage.last) / 2, self.total_steps) for stage in self.stages]
        return sum(share * middle for share, middle in zip(tokens, middles, strict=True)) / sum(tokens)

    def stage(self, step: int) -> Stage:
        """Returns the stage of a step."""
        return self.stages[bisect_right(self.stages, step, key=lambda stage: stage.first) - 1]

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """All stages, in the order of the steps."""
        steps = range(1, self.total_steps + 1)
        begins = {1 + bisect_left(steps, multiple, key=self._multiple) for multiple in range(1, self._multiples + 1)}
        begins |= {1 + bisect_left(steps, number, key=self._dataset) for number in range(len(self.lengths))}
        consumed = [0] * len(self.lengths)
        stages: list[Stage] = []
        for first, after in pairwise([*sorted(begins - {self.total_steps + 1}), self.total_steps + 1]):
            dataset = self._dataset(first)
            scale = max(1, self.lengths[-1] // self.lengths[dataset]) if self.scale_with_length else 1
            size = self.global_batch_size // self._multiples * self._multiple(first) * scale
            stages.append(Stage(first, after - 1, dataset, size, scale, consumed[dataset]))
            consumed[dataset] += stages[-1].num_samples
        return tuple(stages)

    @property
    def _multiples(self) -> int:
        """Final batch size in units of the first one."""
        return self.global_batch_size // (self.global_batch_size_start or self.global_batch_size)

    def _multiple(self, step: int) -> int:
        """Batch size of a step in units of the first one; it rises by 1 at equal distances in the growth."""
        grown = progress(step, self.total_steps) / self.growth_proportion
        return min(self._multiples, 1 + int(grown * (self._multiples - 1)))

    def _dataset(self, step: int) -> int:
        return bisect_right(self.until, progress(step, self.total_steps))
