"""Batches of known sizes whose contents do not matter: a model is measured on them without computing anything."""

import numpy as np
import torch

from pipeline.data.batch import Batch


def uniform_batch(samples: int, length: int, masked: int) -> Batch:
    """A batch of equally long samples of token 0 on torch's default device, as if it were a global batch.

    Args:
        samples: B.
        length: tokens of each sample.
        masked: masked tokens of each sample.
    """

    def zeros(size: int) -> torch.Tensor:
        return torch.zeros(size, dtype=torch.int64)

    return Batch(
        input_ids=zeros(samples * length),
        token_type_ids=zeros(samples * length),
        position_ids=zeros(samples * length),
        cu_seqlens=torch.arange(0, samples * length + 1, length, dtype=torch.int32),
        max_seqlen=length,
        masked_positions=zeros(samples * masked),
        masked_labels=zeros(samples * masked),
        pair_labels=zeros(samples),
        num_masked_global=samples * masked,
        num_samples_global=samples,
        sample_ids=np.arange(samples),
        epochs=np.zeros(samples, np.int64),
        group=0,
    )
