"""Logits of many examples, computed in batches of similar length."""

import numpy as np
import torch

from pipeline.data.batch import Batch
from pipeline.model.task_heads import TaskModel
from pipeline.tasks.base import Logits
from pipeline.tasks.encoding import Encoded, Sequences, batch_of, divide


def default_device() -> torch.device:
    """Return the GPU of this process, or the CPU if there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@torch.inference_mode()
def compute_logits(
    model: TaskModel, encoded: Encoded, sequences: Sequences, max_tokens: int, bf16: bool = False
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
    sizes = encoded.sizes
    order = np.argsort(sizes, kind="stable")
    computed: list[Logits] = []
    for rows in divide(order, sizes[order], max_tokens):
        batch = batch_of(encoded, rows, {}, sequences).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            computed += of_each_example(model(batch).float().cpu().numpy(), batch, encoded.group)
    model.train(was_training)
    return np.concatenate([computed[place] for place in np.argsort(order)])


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
