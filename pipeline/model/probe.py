"""Batches of known sizes and arbitrary contents, for measurements of a model on the meta device."""

import numpy as np
import torch

from pipeline.data.batch import Batch


def uniform_batch(samples: int, length: int, masked: int) -> Batch:
    """Return a global batch of one micro-batch with equally long samples of token 0, on torch's default device.

    Args:
        samples: number of samples B.
        length: number of tokens per sample.
        masked: number of masked tokens per sample.
    """

    def zeros(size: int) -> torch.Tensor:
        return torch.zeros(size, dtype=torch.int64)

    counts = {"samples": samples, "tokens": samples * length, "masked": samples * masked}
    return Batch(
        input_ids=zeros(samples * length),
        segment_ids=zeros(samples * length),
        position_ids=zeros(samples * length),
        cu_seqlens=torch.arange(0, samples * length + 1, length, dtype=torch.int32),
        max_seqlen=length,
        targets={
            "positions": zeros(samples * masked),
            "labels": zeros(samples * masked),
            "uniform": torch.zeros(samples * masked),
            "pair": zeros(samples),
        },
        counts=counts,
        totals=counts,
        sample_ids=np.arange(samples),
        epochs=np.zeros(samples, np.int64),
        group=0,
    )
