"""The samples of a pre-training run, and the batches made from them."""

from collections.abc import Generator

import torch

from pipeline.checkpoints.model_files import tokenizer_files
from pipeline.config import Recipe
from pipeline.data.batch import Batch
from pipeline.data.loader import BatchDivision, MicroBatches, make_loader
from pipeline.data.packing import longest_sequence
from pipeline.families import get_family
from pipeline.runtime import distributed
from pipeline.runtime.signals import StopSignals
from pipeline.training.trainer import TrainState
from preprocessing.files import sha256_file
from preprocessing.schema import MANIFEST_NAME
from preprocessing.shards import SampleDataset


def open_samples(recipe: Recipe, signals: StopSignals) -> tuple[SampleDataset, SampleDataset]:
    """Open and verify both splits. The ranks share the shards to verify, and skip the rest after a stop signal.

    Raises:
        ValueError: the samples are damaged, or do not fit the model or its objective.
    """
    train, heldout = (SampleDataset.open(recipe.data.samples, split) for split in ("train", "heldout"))
    family = get_family(recipe.family)
    if train.manifest.segments not in family.samples:
        raise ValueError(
            f"{recipe.data.samples}: holds {train.manifest.segments} samples, but family {recipe.family} trains on "
            f"{' or '.join(family.samples)}; build them with --segments {family.samples[0]}"
        )
    tokenizer_files(
        train.tokenizer_dir
    )  # every checkpoint copies these files, so that errors in them must be found now
    for dataset in (train, heldout):
        for shard in range(distributed.rank(), len(dataset.shards), distributed.world_size()):
            if not signals.received:
                dataset.verify([shard])
    longest, first = longest_sequence(train.manifest, family.template), family.template.first_position
    if longest + first > recipe.model.max_position_embeddings:
        raise ValueError(
            f"{recipe.data.samples}: sequences of up to {longest} tokens at positions from {first}, but "
            f"model.max_position_embeddings is {recipe.model.max_position_embeddings}; raise it to {longest + first}, "
            "or build shorter samples"
        )
    recipe.masking.warning(longest)  # raises the errors
    return train, heldout


def samples_id(train: SampleDataset) -> str:
    """Return the checksum of the samples' manifest, which contains the checksums of the shards and identifies them."""
    return sha256_file(train.directory / MANIFEST_NAME)


def training_batches(
    recipe: Recipe, division: BatchDivision, train: SampleDataset, state: TrainState, device: torch.device
) -> Generator[Batch, None, None]:
    """Yield this rank's remaining micro-batches, from the first one after `state`."""
    batches = MicroBatches(
        train,
        division,
        recipe.masking,
        get_family(recipe.family).template,
        recipe.seed,
        state.consumed_samples,
        recipe.data.token_multiple,
        state.step + 1,
        recipe.schedule.total_steps,
    )
    remaining = (recipe.schedule.total_steps - state.step) * division.accumulation
    return make_loader(batches, range(remaining), recipe.data, pin_memory=device.type == "cuda")
