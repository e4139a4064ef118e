"""Losses of a student against its teacher: soft targets at a temperature, and the direction of hidden states.

The logits of student and teacher over the vocabulary are computed chunk by chunk, in the forward pass for the loss and
again in the backward pass for the gradient, so that `model.max_logits_mib` bounds their memory.

Sources: Hinton et al. 2015 (https://arxiv.org/abs/1503.02531), section 2; Sanh et al. 2019, DistilBERT
(https://arxiv.org/abs/1910.01108), section 3.

Shapes: R rows, H features of the student, K features of the teacher, V words.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.data.labels import IGNORED
from pipeline.kernels.backends import compute_dtype
from pipeline.losses.cross_entropy import RowSum


class SoftTargets(NamedTuple):
    """A teacher's distributions over the vocabulary: softmax of (rows W^T + b) / temperature. No part has gradients."""

    rows: Tensor
    """(R, K) features of the teacher."""
    weight: Tensor
    """(V, K) W."""
    bias: Tensor
    """(V,) b."""
    labels: Tensor
    """(R,) int64; rows with the label IGNORED are padding, and contribute nothing."""
    temperature: float
    """Divisor of the logits of both models."""


def soft_target_sum(rows: Tensor, weight: Tensor, bias: Tensor, targets: SoftTargets, max_bytes: int) -> RowSum:
    """Sum over rows of T^2 KL(teacher || student), both distributions at the temperature T.

    The factor T^2 keeps the size of gradients independent of the temperature.

    Args:
        rows: (R, H) features of the student, R may be 0.
        weight, bias: (V, H) and (V,), whose product with the rows are its logits.
        targets: the teacher's distributions.
        max_bytes: bound on the logits of both models in fp32 that are in memory at a time, of one row at least.

    Returns:
        The sum, with gradients, and no number of correct rows.
    """
    chunk_rows = max(1, max_bytes // (2 * len(bias) * torch.float32.itemsize))
    loss: Tensor = _SoftTargets.apply(rows, weight, bias, targets, chunk_rows)
    return RowSum(loss, loss.new_zeros(()))


class _SoftTargets(torch.autograd.Function):
    """Forward keeps its arguments alone; backward computes the distributions again."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor, targets: SoftTargets, chunk_rows: int) -> Tensor:
        ctx.targets, ctx.chunk_rows = targets, chunk_rows
        ctx.save_for_backward(rows, weight, bias)
        loss = rows.new_zeros((), dtype=torch.promote_types(rows.dtype, torch.float32))
        for _, ours, theirs, real in _chunks(rows, weight, bias, targets, chunk_rows):
            loss += ((theirs.exp() * (theirs - ours)).sum(1) * real).sum()
        return loss * targets.temperature**2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, loss_gradient: Tensor) -> tuple[Tensor | None, ...]:
        """The derivative of a row's loss by the student's logits is T (student - teacher)."""
        rows, weight, bias = ctx.saved_tensors
        dtype, wide = compute_dtype(rows), loss_gradient.dtype
        row_gradients = []
        by_weight, by_bias = torch.zeros_like(weight, dtype=wide), torch.zeros_like(bias, dtype=wide)
        for chunk, ours, theirs, real in _chunks(rows, weight, bias, ctx.targets, ctx.chunk_rows):
            factor = loss_gradient * ctx.targets.temperature * real[:, None]
            error = ((ours.exp() - theirs.exp()) * factor).to(dtype)  # (r, V)
            row_gradients.append((error @ weight.to(dtype)).to(rows.dtype))
            by_weight += error.t() @ chunk.to(dtype)
            by_bias += error.sum(0, dtype=wide)
        by_rows = torch.cat(row_gradients) if row_gradients else torch.zeros_like(rows)
        return by_rows, by_weight.to(weight.dtype), by_bias.to(bias.dtype), None, None


def _chunks(
    rows: Tensor, weight: Tensor, bias: Tensor, targets: SoftTargets, chunk_rows: int
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Yield for each chunk its rows (r, H), the logarithms (r, V) of both distributions, the student's first, and which
    rows are no padding (r,).
    """
    parts = (each.split(chunk_rows) for each in (rows, targets.rows, targets.labels))
    for ours, theirs, labels in zip(*parts, strict=True):
        student = _log_softmax(ours, weight, bias, targets.temperature)
        teacher = _log_softmax(theirs, targets.weight, targets.bias, targets.temperature)
        yield ours, student, teacher, labels != IGNORED


def _log_softmax(rows: Tensor, weight: Tensor, bias: Tensor, temperature: float) -> Tensor:
    """Return (r, V) logarithms of the softmax at a temperature, in fp32 or a wider type of the rows."""
    dtype = compute_dtype(rows)
    logits = torch.addmm(bias.to(dtype), rows.to(dtype), weight.to(dtype).t())
    wide = logits.to(torch.promote_types(dtype, torch.float32))
    return (wide / temperature).log_softmax(1)


def cosine_distance_sum(student: Tensor, teacher: Tensor, real: Tensor) -> RowSum:
    """Sum over real rows of 1 - cos(student, teacher).

    Args:
        student: (R, H) hidden states of the student, in float32 or converted to it.
        teacher: (R, H) those of the teacher, without gradients.
        real: (R,) bool, False for padding.

    Returns:
        The sum, with gradients, and no number of correct rows.
    """
    wide = torch.promote_types(student.dtype, torch.float32)
    loss = ((1 - functional.cosine_similarity(student.to(wide), teacher.to(wide), dim=1)) * real).sum()
    return RowSum(loss, loss.new_zeros(()))
