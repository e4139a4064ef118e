"""Cross entropy of rows in Triton, which reads the logits once in the forward and once in the backward pass.

The 30522 logits of a row are not a multiple of a vector's length. All blocks of a row but the last are read without a
mask, in 16-byte vectors if the rows are aligned to 16 bytes (`pipeline.losses.projection` aligns them).
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 4096
"""Most logits that a program processes at a time."""
WARPS = 8


@triton.jit
def _widen(logits, columns, mask):
    if mask is None:  # noqa: SIM108
        block = tl.load(logits + columns)
    else:
        block = tl.load(logits + columns, mask=mask, other=float("-inf"))
    return block.to(tl.float32)


@triton.jit
def _take_block(logits, start, mask, peak, prediction, total, BLOCK: tl.constexpr):  # noqa: N803
    """Add a block: the largest logit so far, its column, and by lane the sums of exponentials relative to it."""
    block = _widen(logits, start + tl.arange(0, BLOCK), mask)
    highest, place = tl.max(block, 0, return_indices=True)
    prediction = tl.where(highest > peak, start + place, prediction)
    new_peak = tl.maximum(peak, highest)
    return new_peak, prediction, total * tl.exp(peak - new_peak) + tl.exp(block - new_peak)


@triton.jit
def forward_kernel(
    logits,  # (R, C), rows `stride` apart
    labels,  # (R,) int64
    losses,  # (R,) fp32, written
    log_normalisers,  # (R,) fp32, written
    predictions,  # (R,) int64, written
    stride,
    width,
    ignored,
    BLOCK: tl.constexpr,  # noqa: N803
):
    """Loss, log Z and prediction of one row per program."""
    row = tl.program_id(0).to(tl.int64)
    logits += row * stride
    peak = tl.full((), float("-inf"), tl.float32)
    prediction = tl.full((), 0, tl.int32)
    total = tl.zeros((BLOCK,), tl.float32)
    start = tl.full((), 0, tl.int32)
    while start + BLOCK <= width:
        peak, prediction, total = _take_block(
            logits, tl.multiple_of(start, BLOCK), None, peak, prediction, total, BLOCK
        )
        start += BLOCK
    if start < width:
        mask = start + tl.arange(0, BLOCK) < width
        peak, prediction, total = _take_block(logits, start, mask, peak, prediction, total, BLOCK)
    log_normaliser = tl.log(tl.sum(total, 0)) + peak
    label = tl.load(labels + row)
    label_logit = tl.load(logits + tl.maximum(label, 0)).to(tl.float32)
    tl.store(losses + row, tl.where(label == ignored, 0.0, log_normaliser - label_logit))
    tl.store(log_normalisers + row, log_normaliser)
    tl.store(predictions + row, prediction.to(tl.int64))


@triton.jit
def _write_error(out, logits, columns, mask, label, log_normaliser, scale, Z_WEIGHT: tl.constexpr):  # noqa: N803
    probability = tl.exp(_widen(logits, columns, mask) - log_normaliser)
    if Z_WEIGHT != 0.0:
        probability *= 1.0 + 2.0 * Z_WEIGHT * log_normaliser
    error = probability - tl.where(columns == label, 1.0, 0.0)
    tl.store(out + columns, (error * scale).to(out.dtype.element_ty), mask=mask)


@triton.jit
def backward_kernel(
    out,  # (R, C), rows `out_stride` apart, written; may be the logits themselves
    logits,  # (R, C), rows `stride` apart
    labels,  # (R,) int64
    log_normalisers,  # (R,) fp32
    loss_gradient,  # () fp32
    out_stride,
    stride,
    width,
    ignored,
    BLOCK: tl.constexpr,  # noqa: N803
    Z_WEIGHT: tl.constexpr,  # noqa: N803
):
    """Gradient of BLOCK logits of one row per program.

    It is ((1 + 2 Z_WEIGHT log Z) softmax - one_hot(label)) times the gradient of the sum of the losses.
    """
    row = tl.program_id(0).to(tl.int64)
    start = tl.program_id(1) * BLOCK
    columns = start + tl.arange(0, BLOCK)
    label = tl.load(labels + row)
    log_normaliser = tl.load(log_normalisers + row)
    scale = tl.where(label == ignored, 0.0, tl.load(loss_gradient).to(tl.float32))
    out += row * out_stride
    logits += row * stride
    if start + BLOCK <= width:
        _write_error(out, logits, columns, None, label, log_normaliser, scale, Z_WEIGHT)
    else:
        _write_error(out, logits, columns, columns < width, label, log_normaliser, scale, Z_WEIGHT)


def forward(logits: Tensor, labels: Tensor, ignored: int) -> tuple[Tensor, Tensor, Tensor]:
    """See `pipeline.losses.cross_entropy.forward`."""
    rows, classes = logits.shape
    losses, log_normalisers = (torch.empty(rows, dtype=torch.float32, device=logits.device) for _ in range(2))
    predictions = torch.empty_like(labels)
    if rows:
        forward_kernel[(rows,)](
            logits, labels, losses, log_normalisers, predictions, logits.stride(0), classes, ignored,
            BLOCK=_block(classes), num_warps=WARPS,
        )  # fmt: skip
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
    rows, classes = logits.shape
    if rows:
        backward_kernel[(rows, triton.cdiv(classes, _block(classes)))](
            out, logits, labels, log_normalisers, loss_gradient, out.stride(0), logits.stride(0), classes, ignored,
            BLOCK=_block(classes), Z_WEIGHT=z_weight, num_warps=WARPS,
        )  # fmt: skip


def _block(classes: int) -> int:
    return int(min(BLOCK, triton.next_power_of_2(classes)))
