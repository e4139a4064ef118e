"""Logits of many examples, computed in batches of similar length."""

import numpy as np
import torch

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
    """Return the logits (N, C) of all examples, in their order.

    The model computes in evaluation mode, and is in its former mode afterwards.

    Args:
        model: the model.
        encoded: N examples.
        sequences: how the model reads text.
        max_tokens: bound on the tokens of a batch.
        bf16: whether products are computed in bf16.
    """
    device, was_training = next(model.parameters()).device, model.training
    model.eval()
    order = np.argsort(encoded.lengths, kind="stable")
    computed: list[Logits] = []
    for rows in divide(order, encoded.lengths[order], max_tokens):
        batch = batch_of(encoded, rows, {}, sequences).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            computed.append(model(batch).float().cpu().numpy())
    model.train(was_training)
    return np.concatenate(computed)[np.argsort(order)]
