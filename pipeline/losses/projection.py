"""Cross entropy of a product, with a bound on the memory that its logits take.

Where the logits of all rows fit, backward writes the gradient over them, so that no second tensor of that size exists.
Where they do not, they are computed chunk by chunk, in the forward pass for the loss and again in the backward pass for
the gradient: one chunk exists at a time, at the price of one more product. The gradient cannot be computed in the
forward pass, because in fp16 it must not be formed before the loss scale is known.

On CUDA the product has a multiple of 16 columns, with zeros behind the words: tensor cores and 16-byte accesses want
rows that begin there, which 30522 words would not give, and cuBLAS adds the bias only to a product that is contiguous;
otherwise torch writes the bias into the output before, and reads it again. The columns behind the words are in no sum
and have no gradient.

On a CPU one buffer serves all micro-batches. The logits are the largest tensor of a step, their number of rows changes
from one micro-batch to the next, and a freed block of the heap is too small for the next one or is split by a small
allocation: without the buffer the memory of a small model grows to several times of what it uses.

Shapes: R rows, H features, V words.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.kernels import backends
from pipeline.kernels.backends import Backend
from pipeline.losses import cross_entropy
from pipeline.losses.cross_entropy import Rows, RowSum

ALIGN = 16
"""Elements of a vector, at most: 16 bytes of the narrowest type, and what Triton looks for."""
_spare: dict[torch.dtype, Tensor] = {}
"""The flat buffer of a CPU by type while no micro-batch uses it."""


def projected_cross_entropy_sum(
    rows: Tensor,
    weight: Tensor,
    bias: Tensor,
    labels: Tensor,
    max_bytes: int,
    backend: Backend = "auto",
    z_weight: float = 0.0,
) -> RowSum:
    """`cross_entropy_sum` of the logits rows W^T + b, which take at most `max_bytes`, or one row, at a time.

    Args:
        rows: (R, H), R may be 0.
        weight, bias: (V, H) and (V,).
        labels: (R,) int64 in [0, V), or IGNORED.
        max_bytes: bound on the logits.
        backend: plain torch or Triton; auto is also C++ on a CPU.
        z_weight: weight of the z-loss, as in `cross_entropy_sum`.

    Returns:
        The sums; only `loss` carries gradients.
    """
    chunk_rows = max(1, max_bytes // (len(bias) * backends.compute_dtype(rows).itemsize))
    has_backward = torch.is_grad_enabled() and any(x.requires_grad for x in (rows, weight, bias))
    return RowSum(*_Projected.apply(rows, weight, bias, labels, chunk_rows, backend, z_weight, has_backward))


class _Projected(torch.autograd.Function):
    """Forward keeps each row's log normaliser, and the logits where they are one chunk."""

    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        weight: Tensor,
        bias: Tensor,
        labels: Tensor,
        chunk_rows: int,
        backend: Backend,
        z_weight: float,
        has_backward: bool,
    ) -> RowSum:
        ctx.chunk_rows, ctx.backend, ctx.dtype = chunk_rows, backend, backends.compute_dtype(rows)
        ctx.z_weight = z_weight
        buffer = _buffer(min(chunk_rows, len(rows)), weight, ctx.dtype)
        padded = _padded(weight, bias, buffer)
        found = []
        for chunk, label in zip(rows.split(chunk_rows), labels.split(chunk_rows), strict=True):
            logits = _product_(buffer, chunk, *padded)[:, : len(bias)]
            found.append(cross_entropy.forward(logits, label, backend))
        joined = Rows(*(torch.cat(parts) for parts in zip(*found, strict=True)))
        kept = [buffer] if len(found) == 1 and has_backward else []
        if not kept:
            _give_back(buffer)
        ctx.save_for_backward(rows, weight, bias, labels, joined.log_normalisers, *kept)
        return cross_entropy.differentiable(ctx, cross_entropy.row_sum(joined, labels, z_weight))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, loss_gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, bias, labels, log_normalisers, *kept = ctx.saved_tensors
        buffer = kept[0] if kept else _buffer(ctx.chunk_rows, weight, ctx.dtype)
        padded = None if kept else _padded(weight, bias, buffer)
        sums: list[Tensor] = []  # of weight and bias
        row_gradients = []
        chunks = zip(*(x.split(ctx.chunk_rows) for x in (rows, labels, log_normalisers)), strict=True)
        for chunk, label, normaliser in chunks:
            logits = (buffer if padded is None else _product_(buffer, chunk, *padded))[:, : len(bias)]
            cross_entropy.backward(logits, logits, label, normaliser, loss_gradient, ctx.backend, ctx.z_weight)
            row_gradients.append(logits @ weight.to(ctx.dtype))
            parts = logits.t() @ chunk.to(ctx.dtype), logits.sum(0)
            # Sums of several chunks are fp32: in 16 bits a chunk's share would be rounded each time one is added.
            sums = [a.to(normaliser.dtype).add_(b) for a, b in zip(sums, parts, strict=True)] if sums else [*parts]
        if kept:  # a second backward pass would read gradients for logits; autograd now refuses it
            torch.autograd.graph.increment_version(buffer)
        _give_back(buffer)
        return torch.cat(row_gradients), *sums, None, None, None, None, None


def _columns(weight: Tensor) -> int:
    """Columns of the product with the weight (V, H), at least V."""
    return len(weight) if weight.device.type == "cpu" else -(-len(weight) // ALIGN) * ALIGN


def _buffer(rows: int, weight: Tensor, dtype: torch.dtype) -> Tensor:
    """(rows, columns), contiguous; filled by `_product_`, and then given back."""
    columns = _columns(weight)
    if weight.device.type != "cpu":
        return weight.new_empty(rows, columns, dtype=dtype)
    flat = None if weight.is_meta else _spare.pop(dtype, None)
    if flat is None or len(flat) < rows * columns:
        flat = None  # frees the smaller buffer before the allocation
        flat = weight.new_empty(rows * columns * 9 // 8, dtype=dtype)
    return flat[: rows * columns].view(rows, columns)


def _padded(weight: Tensor, bias: Tensor, buffer: Tensor) -> tuple[Tensor, Tensor]:
    """Weight (columns, H) and bias (columns,) in the type of the buffer, with zeros behind the words."""
    weight, bias, more = weight.to(buffer.dtype), bias.to(buffer.dtype), buffer.shape[1] - len(bias)
    return (functional.pad(weight, (0, 0, 0, more)), functional.pad(bias, (0, more))) if more else (weight, bias)


def _give_back(buffer: Tensor) -> None:
    """Keep the buffer of a CPU for the next micro-batch; it is not used any more.

    The planner's tensors have no memory, and pretend to be on a CPU.
    """
    if buffer.device.type == "cpu" and not buffer.is_meta:
        _spare[buffer.dtype] = buffer._base if buffer._base is not None else buffer


def _product_(buffer: Tensor, rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The product (R, columns) of `rows`, written into the first rows of `buffer`."""
    return torch.addmm(bias, rows.to(buffer.dtype), weight.t(), out=buffer[: len(rows)])
