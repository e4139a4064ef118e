"""The samples of a pre-training run, and the batches made from them."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import ConcatDataset, Subset

from pipeline.checkpoints.model_files import tokenizer_files
from pipeline.config import Recipe
from pipeline.data.batch import Batch
from pipeline.data.config import Corruption
from pipeline.data.heldout import EVALUATION, EVALUATION_SEED, evaluation_batches
from pipeline.data.loader import BatchDivision, MicroBatches, make_loader
from pipeline.data.order import permute
from pipeline.data.packing import longest_sequence
from pipeline.data.schedule import DataSchedule, Stage
from pipeline.data.shuffling import ShuffledContext
from pipeline.families import get_family
from pipeline.runtime import distributed
from pipeline.runtime.signals import StopSignals
from pipeline.training.state import TrainState
from preprocessing.files import sha256_file
from preprocessing.schema import MANIFEST_NAME, Manifest
from preprocessing.shards import SampleDataset

TRAINING_SAMPLES = 8192
"""Number of training samples whose words are counted."""


def open_samples(recipe: Recipe, signals: StopSignals) -> tuple[SampleDataset, SampleDataset]:
    """Open and verify both splits. The ranks share the shards to verify, and skip the rest after a stop signal.

    Raises:
        ValueError: the samples are damaged, or do not fit the model or its objective.
    """
    train, heldout = (SampleDataset.open(recipe.data.samples, split) for split in ("train", "heldout"))
    check_fitting(recipe, train)
    tokenizer_files(
        train.tokenizer_dir
    )  # every checkpoint copies these files, so that errors in them must be found now
    for dataset in (train, heldout):
        verify(dataset, signals)
    return train, heldout


def open_earlier(recipe: Recipe, train: SampleDataset, signals: StopSignals) -> tuple[SampleDataset, ...]:
    """Open and verify the training splits of `data.earlier_samples`, as `open_samples` does.

    Raises:
        ValueError: the samples are damaged, do not fit the model or its objective, or have another vocabulary.
    """
    earlier = tuple(SampleDataset.open(directory, "train") for directory in recipe.data.earlier_samples)
    for dataset in earlier:
        check_fitting(recipe, dataset)
        if dataset.manifest.tokenizer_sha256 != train.manifest.tokenizer_sha256:
            raise ValueError(
                f"data.earlier_samples: {dataset.directory} has another tokenizer than data.samples = "
                f"{train.directory}; build both with one vocabulary (--vocab {train.tokenizer_dir})"
            )
        verify(dataset, signals)
    return earlier


def check_fitting(recipe: Recipe, train: SampleDataset) -> None:
    """Check that samples fit the model, its objective and the masking.

    Raises:
        ValueError: they do not.
    """
    whole = get_family(recipe.family)
    family, segments = whole.of(recipe.model), train.manifest.segments
    if segments not in family.samples:
        others = dict.fromkeys(form.setting for form in (whole, *whole.variants) if segments in form.samples)
        raise ValueError(
            f"{train.directory}: holds {segments} samples, but family {recipe.family} trains on "
            f"{' or '.join(family.samples)}" + (f" with {family.setting}" if family.setting else "") + "; build them "
            f"with --segments {family.samples[0]}" + "".join(f", or set {setting}" for setting in others)
        )
    longest, first = longest_sequence(train.manifest, family.template), family.template.first_position
    if longest + first > recipe.model.max_position_embeddings:
        raise ValueError(
            f"{train.directory}: sequences of up to {longest} tokens at positions from {first}, but "
            f"model.max_position_embeddings is {recipe.model.max_position_embeddings}; raise it to {longest + first}, "
            "or build shorter samples"
        )
    recipe.masking.warning(longest)  # raises the errors


def verify(dataset: SampleDataset, signals: StopSignals) -> None:
    """Verify this rank's share of the shards.

    Raises:
        ValueError: one is damaged.
    """
    for shard in range(distributed.rank(), len(dataset.shards), distributed.world_size()):
        if not signals.received:
            dataset.verify([shard])


def samples_id(train: SampleDataset, earlier: Sequence[SampleDataset] = ()) -> str:
    """Return the checksum of the samples' manifest, which contains the checksums of the shards and identifies them.

    With earlier samples it is the checksum of the checksums of all manifests, in the order of training.
    """
    checksums = [sha256_file(dataset.directory / MANIFEST_NAME) for dataset in (*earlier, train)]
    return sha256("".join(checksums).encode()).hexdigest() if earlier else checksums[0]


def data_schedule(recipe: Recipe, manifests: Sequence[Manifest]) -> DataSchedule:
    """Return the schedule of the data.

    Args:
        recipe: the recipe.
        manifests: those of `data.earlier_samples` and of `data.samples`, in the order of training.
    """
    template = get_family(recipe.family).template
    lengths = tuple(longest_sequence(manifest, template) for manifest in manifests)
    return DataSchedule.of(recipe.data, recipe.batch, recipe.schedule.total_steps, lengths)


def divide(recipe: Recipe) -> BatchDivision:
    """Return the division of the final global batch among the ranks.

    Raises:
        ValueError: it, or the first one, does not divide evenly; all others are multiples of the first.
    """
    sizes, ranks = recipe.batch, (distributed.rank(), distributed.world_size())
    if start := sizes.global_batch_size_start:
        BatchDivision(start, sizes.micro_batch_size, *ranks, field="global_batch_size_start")
    return BatchDivision(sizes.global_batch_size, sizes.micro_batch_size, *ranks)


def division_at(stage: Stage, division: BatchDivision) -> BatchDivision:
    """Return the division of the global batches of a stage, from that of the final one."""
    micro_batch_size = division.micro_batch_size * stage.scale
    return replace(division, global_batch_size=stage.batch_size, micro_batch_size=micro_batch_size)


def training_words(train: SampleDataset) -> list[npt.NDArray[np.integer]]:
    """Return the text tokens of TRAINING_SAMPLES training samples, or of all, in a fixed random order."""
    indices = permute(np.arange(min(TRAINING_SAMPLES, len(train))), 0, len(train), EVALUATION_SEED)
    train.check_whole(indices)
    return train.tokens(indices)


def training_batches(
    recipe: Recipe,
    division: BatchDivision,
    schedule: DataSchedule,
    datasets: Sequence[SampleDataset],
    state: TrainState,
    device: torch.device,
) -> Generator[Batch, None, None]:
    """Yield this rank's remaining micro-batches, from the first one after `state`.

    Args:
        recipe: the recipe.
        division: division of the final global batch.
        schedule: batch size and samples of each step.
        datasets: training splits in the order of training.
        state: position of the run.
        device: device of the model.
    """
    template, total_steps = get_family(recipe.family).template, recipe.schedule.total_steps
    opened: dict[int, MicroBatches] = {}
    parts: list[Subset[Batch]] = []
    for stage in schedule.stages:
        first = max(stage.first, state.step + 1)
        if first <= stage.last or stage.last == total_steps:
            own, consumed = division_at(stage, division), stage.consumed + (first - stage.first) * stage.batch_size
            if stage.dataset not in opened:
                opened[stage.dataset] = MicroBatches(
                    datasets[stage.dataset],
                    own,
                    recipe.masking,
                    template,
                    recipe.seed,
                    token_multiple=recipe.data.token_multiple,
                    fixed_shapes=recipe.data.fixed_shapes,
                    total_steps=total_steps,
                )
            batches = opened[stage.dataset].moved(own, consumed, first)
            parts.append(Subset(batches, range((stage.last - first + 1) * own.accumulation)))
    together: ConcatDataset[Batch] = ConcatDataset(parts)
    return make_loader(together, range(len(together)), recipe.data, pin_memory=device.type == "cuda")


def heldout_batches(
    recipe: Recipe,
    division: BatchDivision,
    heldout: SampleDataset,
    corruption: Corruption = EVALUATION,
    max_samples: int | None = None,
) -> Iterator[Batch]:
    """Yield this rank's micro-batches of an evaluation: of `evaluation.samples`, or of the first `max_samples`."""
    return evaluation_batches(
        heldout,
        get_family(recipe.family).template,
        division.micro_batch_size,
        division.rank,
        division.world_size,
        recipe.evaluation.samples if max_samples is None else max_samples,
        corruption,
    )


def heldout_samples(recipe: Recipe, available: int) -> tuple[int, ...]:
    """Return the number of samples of each pass of an evaluation: over the held-out samples, then of the order gap.

    Args:
        recipe: the recipe.
        available: size of the held-out split.
    """
    number = min(recipe.evaluation.samples, available)
    gap = min(recipe.evaluation.order_gap_samples, number)
    return (number, gap, gap) if gap else (number,)


def order_gap_batches(
    recipe: Recipe, division: BatchDivision, heldout: SampleDataset
) -> tuple[Callable[[], Iterator[Batch]], ...]:
    """Return functions that yield the micro-batches of the order gap, intact and shuffled; none if it is turned off."""
    _, *passes = heldout_samples(recipe, len(heldout))
    corruptions: tuple[Corruption, ...] = (EVALUATION, ShuffledContext(EVALUATION))
    return tuple(
        partial(heldout_batches, recipe, division, heldout, corruption, number)
        for corruption, number in zip(corruptions, passes, strict=False)
    )
