"""Cross entropy of rows in C++, which reads the logits once in the forward and once in the backward pass."""

import ctypes

import torch
from torch import Tensor

from pipeline.kernels.native import library
from pipeline.kernels.native.library import pointers, sizes

SHARE = 1 << 15
"""Logits for which a further thread is worth its start."""


def forward(logits: Tensor, labels: Tensor, ignored: int) -> tuple[Tensor, Tensor, Tensor]:
    """See `pipeline.losses.cross_entropy.forward`."""
    rows = len(logits)
    losses, log_normalisers = torch.empty(rows), torch.empty(rows)
    predictions = torch.empty(rows, dtype=torch.int64)
    labels = _checked(labels, logits.shape[1], ignored)
    library.load("cross_entropy").cross_entropy_forward(
        *_matrix(logits),
        *sizes(*logits.shape, logits.stride(0)),
        *pointers(labels),
        *sizes(ignored),
        *pointers(losses, log_normalisers, predictions),
        _threads(logits),
    )
    return losses, log_normalisers, predictions


def backward(
    out: Tensor,
    logits: Tensor,
    labels: Tensor,
    log_normalisers: Tensor,
    loss_gradient: Tensor,
    ignored: int,
    z_weight: float,
) -> None:
    """See `pipeline.losses.cross_entropy.backward`."""
    assert out.dtype == logits.dtype and out.stride(1) == 1, "gradients in rows, of the type of the logits"
    labels = _checked(labels, logits.shape[1], ignored)
    library.load("cross_entropy").cross_entropy_backward(
        *pointers(out),
        *_matrix(logits),
        *sizes(*logits.shape, out.stride(0), logits.stride(0)),
        *pointers(labels),
        *sizes(ignored),
        *pointers(log_normalisers),
        ctypes.c_float(loss_gradient.item()),
        ctypes.c_float(z_weight),
        _threads(logits),
    )


def _matrix(logits: Tensor) -> tuple[ctypes.c_void_p, int]:
    """Address of the logits, and whether they are bf16."""
    assert logits.dtype in (torch.float32, torch.bfloat16) and logits.stride(1) == 1, "rows of fp32 or bf16"
    return pointers(logits)[0], int(logits.dtype == torch.bfloat16)


def _checked(labels: Tensor, classes: int, ignored: int) -> Tensor:
    """The labels, contiguous; an IndexError if one is not a class, because the kernel would read beyond its row."""
    bad = labels[((labels < 0) | (labels >= classes)) & (labels != ignored)]
    if len(bad):
        raise IndexError(f"label {bad[0]}: must be in [0, {classes}), or {ignored} for a row that is ignored")
    return labels.contiguous()


def _threads(logits: Tensor) -> int:
    return max(1, min(torch.get_num_threads(), logits.numel() // SHARE))
