"""Micro-batches of a rank, prefetched by worker processes.

Micro-batch i of a rank is a function of i alone: its step, the samples of that step, and which of them are dealt to it.
PyTorch's DataLoader can therefore build any of them in any worker, a resumed run can start at any i, and no state has
to be saved. The samples of a step are dealt to G = global_batch_size / micro_batch_size groups whatever the number of
ranks; rank r takes groups r, r + world_size, ..., so that the micro-batches of a step are the same at every world size.
"""

import ctypes
import signal
import threading
from collections.abc import Generator, Mapping
from copy import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from pipeline.data import packing
from pipeline.data.batch import Batch, count, has_empty_segment, make_batch
from pipeline.data.config import Corruption, DataConfig
from pipeline.data.masking import Draw, Int64Array
from pipeline.data.order import deal, global_batch
from pipeline.data.schedule import progress
from pipeline.data.special_tokens import SpecialTokens
from pipeline.data.template import Template
from pipeline.runtime.signals import STOP
from preprocessing.shards import SampleDataset


@dataclass(frozen=True)
class BatchDivision:
    """Division of a global batch into micro-batches, and those that belong to this rank."""

    global_batch_size: int
    """Samples of an optimizer step, over all ranks and accumulation steps."""
    micro_batch_size: int
    """Samples of one forward and backward pass on one rank."""
    rank: int
    """Number of this rank, from 0."""
    world_size: int
    """Number of ranks."""
    field: str = "global_batch_size"
    """Field of the recipe's [batch] with the global batch size, for messages."""

    def __post_init__(self) -> None:
        for name, size in ((self.field, self.global_batch_size), ("micro_batch_size", self.micro_batch_size)):
            if size < 1:
                raise ValueError(f"batch.{name} = {size}: must be at least 1")
        assert 0 <= self.rank < self.world_size, f"rank {self.rank} of {self.world_size}"
        unit = self.micro_batch_size * self.world_size
        if self.global_batch_size % unit:
            raise ValueError(
                f"batch.{self.field} = {self.global_batch_size}: must be a multiple of batch.micro_batch_size = "
                f"{self.micro_batch_size} x {self.world_size} ranks = {unit}; {self._remedy(unit)}"
            )

    def _remedy(self, unit: int) -> str:
        below = self.global_batch_size // unit * unit
        nearest = f"{below} or {below + unit}" if below else f"{unit}"
        remedy = f"the nearest batch.{self.field} is {nearest}"
        per_rank, rest = divmod(self.global_batch_size, self.world_size)
        if rest:
            return remedy
        fitting = max(size for size in range(1, self.micro_batch_size + 1) if per_rank % size == 0)
        return f"set batch.micro_batch_size to {fitting}, which trains on the same samples, or {remedy}"

    @property
    def num_groups(self) -> int:
        """Number of micro-batches of a step over all ranks."""
        return self.global_batch_size // self.micro_batch_size

    @property
    def accumulation(self) -> int:
        """Number of micro-batches of a step on each rank."""
        return self.num_groups // self.world_size


@dataclass(frozen=True, eq=False)
class _Step:
    """One global batch, dealt to groups."""

    number: int
    corruption: Corruption  # that of this step, without a schedule
    epochs: Int64Array  # (B,)
    indices: Int64Array  # (B,)
    groups: Int64Array  # (G, B // G) positions in the batch
    totals: Mapping[str, int]


class MicroBatches(Dataset[Batch]):
    """Dataset whose item i is micro-batch i of this rank, counted from the step that starts at `first_sample`."""

    def __init__(
        self,
        samples: SampleDataset,
        division: BatchDivision,
        corruption: Corruption,
        template: Template,
        seed: int,
        first_sample: int = 0,
        token_multiple: int = 1,
        fixed_shapes: bool = False,
        first_step: int = 1,
        total_steps: int = 1,
    ) -> None:
        """Checks the samples and prepares them for training.

        Args:
            samples: the training split.
            division: sizes of the batches, and this rank.
            corruption: which tokens the model must restore; its schedule depends on the step.
            template: the special tokens around segments.
            seed: the run's seed, which orders and masks the samples.
            first_sample: number of samples consumed by the steps before item 0.
            token_multiple: multiple to which tokens are padded, as in DataConfig.
            fixed_shapes: whether to pad to few shapes, as in DataConfig.
            first_step: optimizer step of item 0, from 1.
            total_steps: optimizer steps of the run.

        Raises:
            ValueError: the dataset is empty, or one of its samples lacks a segment.
        """
        check_samples(samples)
        self.samples, self.division = samples, division
        self.corruption, self.template = corruption, template
        self.seed, self.first_sample, self.token_multiple = seed, first_sample, token_multiple
        self.longest = packing.longest_sequence(samples.manifest, template) if fixed_shapes else 0
        self.first_step, self.total_steps = first_step, total_steps
        self.special = special_tokens(samples, template)
        self._latest: _Step | None = None

    def moved(self, division: BatchDivision, first_sample: int, first_step: int) -> "MicroBatches":
        """Returns the micro-batches of the same samples from another step on; arguments as in the constructor."""
        moved = copy(self)
        moved.division, moved.first_sample, moved.first_step = division, first_sample, first_step
        moved._latest = None
        return moved

    def __getitem__(self, item: int) -> Batch:
        number, micro_step = divmod(item, self.division.accumulation)
        step = self._step(number)
        group = micro_step * self.division.world_size + self.division.rank
        rows = step.groups[group]  # (B // G,)
        return make_batch(
            self.samples,
            Draw(self.seed, step.epochs[rows], step.indices[rows]),
            step.corruption,
            self.template,
            self.special,
            totals=step.totals,
            group=group,
            token_multiple=self.token_multiple,
            longest=self.longest,
        )

    def _step(self, number: int) -> _Step:
        """Returns step `number`, kept until another one is requested: a worker requests them in order."""
        if self._latest is None or self._latest.number != number:
            batch_size = self.division.global_batch_size
            consumed = self.first_sample + number * batch_size
            epochs, indices = global_batch(consumed, batch_size, len(self.samples), self.seed)
            lengths = sample_lengths(self.samples, self.template, indices)
            corruption = self.corruption.at(progress(self.first_step + number, self.total_steps))
            totals = count(lengths, corruption.counts(lengths, Draw(self.seed, epochs, indices)))
            groups = deal(lengths, self.division.num_groups)
            self._latest = _Step(number, corruption, epochs, indices, groups, totals)
        return self._latest


def special_tokens(samples: SampleDataset, template: Template) -> SpecialTokens:
    """Returns the special tokens of the samples' vocabulary.

    Raises:
        ValueError: the vocabulary lacks one, or its padding token has another id than the family's.
    """
    special = SpecialTokens.load(samples.tokenizer_dir)
    if template.pad_id not in (None, special.ids["pad"]):
        raise ValueError(
            f"{samples.tokenizer_dir}: the padding token has id {special.ids['pad']}, but the family's positions begin "
            f"behind id {template.pad_id}; build the samples with a vocabulary of that family"
        )
    return special


def sample_lengths(samples: SampleDataset, template: Template, indices: Int64Array) -> Int64Array:
    """Returns (B,) the number of tokens of each sample, special tokens included.

    Raises:
        ValueError: a shard was cut short after it was verified.
    """
    samples.check_whole(indices)
    return packing.lengths(template, samples.lengths[indices], samples.boundaries[indices])


def check_samples(samples: SampleDataset) -> None:
    """Checks that a split has samples, and each of them the segments that packing and masking require.

    Raises:
        ValueError: the dataset is empty, or one of its samples lacks a segment.
    """
    place = f"{samples.directory}: split {samples.split!r}"
    if not len(samples):
        raise ValueError(f"{place} has no samples; build it from more text")
    lacking = np.flatnonzero(has_empty_segment(samples, samples.lengths, samples.boundaries))
    if lacking.size:
        raise ValueError(
            f"{place}: sample {lacking[0]} has {samples.lengths[lacking[0]]} tokens and boundary "
            f"{samples.boundaries[lacking[0]]}, but each segment needs a token; build the samples again"
        )


def make_loader(
    batches: Dataset[Batch], items: range, config: DataConfig, pin_memory: bool
) -> Generator[Batch, None, None]:
    """Yields `batches[i] for i in items`, built ahead by worker processes; their number changes no batch.

    Args:
        batches: the micro-batches of this rank.
        items: numbers of the micro-batches, usually range(start, stop) from the first one of a step.
        config: number of workers, and of batches that each builds ahead; the directory, for messages.
        pin_memory: copy batches to page-locked memory, for asynchronous copies to a GPU.

    Raises:
        ValueError: a shard was damaged or cut short after it was verified.
        OSError: a shard cannot be read, or a worker died, for example because memory ran out.
    """
    loader: DataLoader[Batch | Exception] = DataLoader(
        _Delivering(batches),
        batch_size=None,
        sampler=items,
        num_workers=config.num_workers,
        prefetch_factor=config.prefetch if config.num_workers else None,
        pin_memory=pin_memory,
        multiprocessing_context="fork" if config.num_workers else None,
        worker_init_fn=_begin_worker,
        # DataLoader draws a seed for its workers, which they do not use; it must not come from training's generator.
        generator=torch.Generator(),
    )
    iterator = iter(loader)
    if config.num_workers and threading.current_thread() is threading.main_thread():
        # DataLoader would raise at any point of this thread when a worker dies; `next` raises as well.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        for item in iterator:
            if isinstance(item, Exception):
                raise item
            yield item
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise OSError(
            f"{config.samples}: a process that reads it died ({error}); check the samples with python -m "
            "preprocessing verify, and the available memory"
        ) from None
    finally:
        del iterator  # ends the workers now, and not only when the last traceback that refers to this frame is freed


class _Delivering(Dataset["Batch | Exception"]):
    """Micro-batches, or the errors of reading them that a user can correct.

    DataLoader raises an error of a worker with the traceback in its message; an error that is delivered like a batch
    keeps its message of one line.
    """

    def __init__(self, batches: Dataset[Batch]) -> None:
        self._batches = batches

    def __getitem__(self, item: int) -> Batch | Exception:
        try:
            return self._batches[item]
        except (ValueError, OSError) as error:
            return error


def _begin_worker(_number: int) -> None:
    """Make a worker ignore stop signals, which schedulers send to all processes, and end when its rank ends."""
    for number in STOP:
        signal.signal(number, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
