"""Comparisons of batches, for tests."""

from dataclasses import fields

import numpy as np
import torch

from pipeline.data.batch import Batch


def same(left, right):
    """Return whether two batches agree in every field, bit for bit."""
    pairs = [(getattr(left, field.name), getattr(right, field.name)) for field in fields(Batch)]
    return all(np.array_equal(a, b) for a, b in pairs if not isinstance(a, dict)) and all(
        np.array_equal(a[key], b[key]) for a, b in pairs if isinstance(a, dict) for key in a.keys() | b.keys()
    )


def samples_of(batches):
    """Return (epoch, row) -> masked tokens, segments, positions, masks, labels and pair label of each sample."""
    found = {}
    for batch in batches:
        masked = torch.zeros_like(batch.input_ids).index_fill(0, batch.targets["positions"], 1)
        labels = batch.input_ids.index_copy(0, batch.targets["positions"], batch.targets["labels"])
        bounds = batch.cu_seqlens.tolist()
        for number, key in enumerate(zip(batch.epochs.tolist(), batch.sample_ids.tolist(), strict=True)):
            rows = slice(bounds[number], bounds[number + 1])
            assert key not in found, f"sample {key} comes twice"
            columns = (batch.input_ids, batch.segment_ids, batch.position_ids, masked, labels)
            found[key] = ([column[rows].tolist() for column in columns], int(batch.targets["pair"][number]))
    return found
