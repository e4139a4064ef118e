"""Logits of many examples, computed in batches of similar length."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from pipeline.data.batch import Batch
from pipeline.data.packing import Int64Array
from pipeline.tasks.base import Logits
from pipeline.tasks.encoding import Encoded, Sequences, batch_of, divide


def default_device() -> torch.device:
    """Return the GPU of this process, or the CPU if there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@torch.inference_mode()
def compute_logits(
    model: nn.Module, encoded: Encoded, sequences: Sequences, max_tokens: int, bf16: bool = False
) -> Logits:
    """Return the logits (R, C) of all examples, in their order: a row per sequence, or per token of each sequence.

    The model computes in evaluation mode, and is in its former mode afterwards.

    Args:
        model: the model.
        encoded: the examples.
        sequences: how the model reads text.
        max_tokens: bound on the tokens of a batch.
        bf16: whether products are computed in bf16.
    """
    device, was_training = next(model.parameters()).device, model.training
    model.eval()
    computed: dict[int, Logits] = {}
    for rows, batch in batches_by_length(encoded, sequences, max_tokens, device):
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            found = of_each_example(model(batch).float().cpu().numpy(), batch, encoded.group)
        computed |= zip(rows.tolist(), found, strict=True)
    model.train(was_training)
    return np.concatenate([computed[row] for row in range(len(encoded))])


def batches_by_length(
    encoded: Encoded, sequences: Sequences, max_tokens: int, device: torch.device
) -> Iterator[tuple[Int64Array, Batch]]:
    """Yield batches of examples of similar length, the short ones first, with the numbers of their examples.

    Args:
        encoded: the examples.
        sequences: how the model reads text.
        max_tokens: bound on the tokens of a batch.
        device: where the batches are.
    """
    sizes = encoded.sizes
    order = np.argsort(sizes, kind="stable")
    for rows in divide(order, sizes[order], max_tokens):
        yield rows, batch_of(encoded, rows, {}, sequences).to(device)


def of_each_example(logits: Logits, batch: Batch, group: int) -> list[Logits]:
    """Divide the logits of a batch among its examples.

    Args:
        logits: (B, C) or (T, C): a row per sequence or per token. Each sequence has several tokens, so that the number
            of rows shows which.
        batch: the batch.
        group: number of sequences of an example.
    """
    per_token = len(logits) == len(batch.input_ids)
    ends = batch.cu_seqlens.cpu().numpy() if per_token else np.arange(batch.num_samples + 1)
    return np.split(logits, ends[group:-1:group])
