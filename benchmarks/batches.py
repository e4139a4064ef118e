"""Micro-batches for benchmarks: random tokens of given lengths, or those of a samples directory."""

from pathlib import Path

import numpy as np
import torch

from benchmarks.gpu.samples import write_samples
from pipeline.config import Recipe
from pipeline.data.batch import Batch
from pipeline.data.config import Corruption, MaskingConfig
from pipeline.data.loader import BatchDivision, MicroBatches
from pipeline.data.template import Template
from pipeline.families import get_family
from preprocessing.shards import SampleDataset


def real_batches(samples: Path, micro_batch_size: int, count: int) -> list[Batch]:
    """The first micro-batches of a training run on this directory, each as if it were a global batch."""
    return _first(samples, micro_batch_size, count, MaskingConfig(), Template(), seed=0)


def _first(
    samples: Path, micro_batch_size: int, count: int, corruption: Corruption, template: Template, seed: int
) -> list[Batch]:
    division = BatchDivision(micro_batch_size, micro_batch_size, 0, 1)
    dataset = SampleDataset.open(samples, "train")
    # The run ends with them, so that they have all mask rates of a recipe whose rate changes.
    batches = MicroBatches(dataset, division, corruption, template, seed, total_steps=count)
    return [batches[number] for number in range(count)]


def generated_samples(recipe: Recipe, directory: Path, rows: int, length: int, vocab_size: int) -> Path:
    """Writes samples of random tokens for a recipe's family; arguments as of `write_samples`."""
    family = get_family(recipe.family).of(recipe.model)
    pad_id = max(0, family.template.first_position - 1)
    return write_samples(directory, rows, 1, length, vocab_size, family.samples[0], pad_id)


def recipe_batches(recipe: Recipe, samples: Path, micro_batch_size: int, count: int) -> list[Batch]:
    """The first micro-batches with the corruption and the special tokens of a recipe's family."""
    template = get_family(recipe.family).of(recipe.model).template
    return _first(samples, micro_batch_size, count, recipe.masking, template, recipe.seed)


def make_batch(lengths: list[int], vocab_size: int, seed: int, masked_share: float = 0.15) -> Batch:
    """A micro-batch of random tokens with these lengths, this share of each sample masked."""
    rng = np.random.default_rng(seed)
    bounds = np.cumsum([0, *lengths])
    masked = [
        start + rng.choice(n, max(1, round(masked_share * n)), replace=False)
        for start, n in zip(bounds, lengths, strict=False)
    ]
    positions = torch.from_numpy(np.sort(np.concatenate(masked)))
    counts = {"samples": len(lengths), "tokens": int(bounds[-1]), "masked": len(positions)}
    return Batch(
        input_ids=torch.from_numpy(rng.integers(5, vocab_size, bounds[-1])),
        segment_ids=torch.from_numpy(np.concatenate([np.arange(n) >= n // 2 for n in lengths]).astype(np.int64)),
        position_ids=torch.from_numpy(np.concatenate([np.arange(n) for n in lengths])),
        cu_seqlens=torch.from_numpy(bounds.astype(np.int32)),
        max_seqlen=max(lengths),
        targets={
            "positions": positions,
            "labels": torch.from_numpy(rng.integers(5, vocab_size, len(positions))),
            "pair": torch.from_numpy(rng.integers(0, 2, len(lengths))),
        },
        counts=counts,
        totals=counts,
        sample_ids=np.arange(len(lengths)),
        epochs=np.zeros(len(lengths), np.int64),
        group=0,
    )
