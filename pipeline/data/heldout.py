"""Batches of held-out samples, which are the same in every run.

Samples and masks depend neither on the run's seed nor on its `[masking]`, so that the losses of different recipes can
be compared. The division over ranks changes no batch.
"""

from collections.abc import Iterator

import numpy as np

from pipeline.data.batch import Batch, count, make_batch
from pipeline.data.config import Corruption, MaskingConfig
from pipeline.data.loader import check_samples, sample_lengths, special_tokens
from pipeline.data.masking import Draw
from pipeline.data.order import permute
from pipeline.data.template import Template
from preprocessing.shards import SampleDataset

EVALUATION = MaskingConfig(probability=0.15, max_predictions=0)
"""Masking of held-out samples: that of BERT without an upper bound on the masked tokens of a sample."""
EVALUATION_SEED = 0x5EED
"""Seed that chooses the held-out samples and their masks in every run."""


def evaluation_batches(
    samples: SampleDataset,
    template: Template,
    micro_batch_size: int,
    rank: int,
    world_size: int,
    max_samples: int,
    corruption: Corruption = EVALUATION,
) -> Iterator[Batch]:
    """Yields this rank's batches of a held-out split: the same samples and masks each time, at every world size.

    Masks are those of `EVALUATION` in every run, whatever its seed and its `[masking]`, so that losses are comparable.
    The samples of a smaller `max_samples` are the first ones of a larger one, with the same masks.

    The batches are those of epoch 0; every rank gets the same number, because under ZeRO-3 all ranks must run equally
    many forward passes. A rank that would have one batch less repeats the first one with weight 0. Losses summed over
    all batches of weight 1 and all ranks are the means over the whole split, because the batches' totals count all of
    it.

    Args:
        samples: the held-out split.
        template: the special tokens around segments.
        micro_batch_size: samples of a batch; the last batch may have fewer.
        rank: number of this rank.
        world_size: number of ranks.
        max_samples: upper bound on the number of evaluated samples, over all ranks.
        corruption: `EVALUATION`, or a corruption made of it.

    Raises:
        ValueError: the split is empty, or one of its samples lacks a segment.
    """
    check_samples(samples)
    special = special_tokens(samples, template)
    indices = permute(np.arange(min(max_samples, len(samples))), 0, len(samples), EVALUATION_SEED)  # (N,)
    lengths, draw = sample_lengths(samples, template, indices), Draw(EVALUATION_SEED, np.zeros_like(indices), indices)
    totals = count(lengths, corruption.counts(lengths, draw))
    num_batches = -(-len(indices) // micro_batch_size)
    for first in range(0, num_batches, world_size):
        counted = first + rank < num_batches
        number = first + rank if counted else 0
        rows = indices[number * micro_batch_size : (number + 1) * micro_batch_size]
        yield make_batch(
            samples,
            Draw(EVALUATION_SEED, np.zeros_like(rows), rows),
            corruption,
            template,
            special,
            totals=totals,
            group=number,
            weight=int(counted),
        )
