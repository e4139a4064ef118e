"""Cross entropy summed over rows, in fp32 whatever the logits' type, without an fp32 copy of the logits.

Sums, because the loss of a global batch is a sum over all its masked positions divided once by their number: a mean per
micro-batch would weigh positions unequally. Both of BERT's objectives are this function: masked tokens (M rows of V
classes) and sentence pairs (B rows of 2).

The logits of masked tokens are the largest tensors of a step (1280 rows of 30522: 156 MB in fp32). torch's cross
entropy on `logits.float()` keeps three fp32 tensors of that size; this one keeps the logits and one number per row. On
CUDA a Triton kernel reads the logits once each way, and on a CPU a kernel in C++ does. Plain torch works through chunks
of rows that fit in cache. Rejected: recomputing chunks under `torch.utils.checkpoint`, which is slower, and computing
the gradient in the forward pass, which in fp16 would round away small probabilities before the loss scale reaches them.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from pipeline.data.labels import IGNORED
from pipeline.kernels import backends
from pipeline.kernels.backends import Backend

NATIVE_DTYPES = (torch.float32, torch.bfloat16)
"""Types that the C++ kernel reads; plain torch computes the others on a CPU."""
# Elements of a chunk that is widened to fp32 at a time: cache-sized on a CPU (8 MB), large elsewhere (256 MB) so that
# the number of kernel launches stays small.
CPU_CHUNK_ELEMENTS = 1 << 21
DEVICE_CHUNK_ELEMENTS = 1 << 26


class RowSum(NamedTuple):
    """Sums over the rows of a micro-batch."""

    loss: Tensor  # () fp32, sum of cross entropies in nats, with the z-loss
    correct: Tensor  # () in the type of the loss, number of rows whose largest logit is the label's, exact below 2^24
    z_loss: Tensor | None = None  # () fp32, the part of `loss` that is z-loss; None without one


class Rows(NamedTuple):
    """Results of the forward pass for each row."""

    losses: Tensor  # (R,) cross entropy in nats, 0 where the label is IGNORED
    log_normalisers: Tensor  # (R,) log of the sum of exponentials
    predictions: Tensor  # (R,) int64, the largest logit's class


def cross_entropy_sum(logits: Tensor, labels: Tensor, backend: Backend = "auto", z_weight: float = 0.0) -> RowSum:
    """Sum over rows of -log softmax(logits)[label], and the number of rows predicted correctly.

    The z-loss adds z_weight (log Z)^2 for each row, with Z the sum of its exponentials, which keeps Z near 1:
    Devlin et al. 2014, "Fast and Robust Neural Network Joint Models" (self-normalisation); Chowdhery et al. 2022, PaLM.

    Args:
        logits: (R, C) floating point, R may be 0. float64 is computed in float64, all other types in float32.
        labels: (R,) int64 in [0, C), or IGNORED.
        backend: plain torch or Triton; auto is also C++ on a CPU.
        z_weight: weight of the z-loss; 0: none.

    Returns:
        The sums; only `loss` carries gradients.
    """
    return RowSum(*_CrossEntropySum.apply(logits, labels, backend, z_weight))


def row_sum(rows: Rows, labels: Tensor, z_weight: float) -> RowSum:
    """The sums over rows; outside autograd."""
    loss, correct = rows.losses.sum(), (rows.predictions == labels).sum(dtype=rows.losses.dtype)
    if not z_weight:
        return RowSum(loss, correct)
    z_loss = z_weight * (rows.log_normalisers.square() * (labels != IGNORED)).sum()
    return RowSum(loss + z_loss, correct, z_loss)


class _CrossEntropySum(torch.autograd.Function):
    """Forward keeps each row's log normaliser; backward rebuilds the probabilities from it."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, backend: Backend, z_weight: float) -> RowSum:
        rows = forward(logits, labels, backend)
        ctx.backend, ctx.z_weight = backend, z_weight
        ctx.save_for_backward(logits, labels, rows.log_normalisers)
        return differentiable(ctx, row_sum(rows, labels, z_weight))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, loss_gradient: Tensor, *_: Tensor) -> tuple[Tensor, None, None, None]:
        logits, labels, log_normalisers = ctx.saved_tensors
        gradient = torch.empty_like(logits)
        backward(gradient, logits, labels, log_normalisers, loss_gradient, ctx.backend, ctx.z_weight)
        return gradient, None, None, None


def differentiable(ctx: Any, sums: RowSum) -> RowSum:
    """The outputs of an autograd function, of which only the loss has a gradient."""
    ctx.mark_non_differentiable(*(value for value in sums[1:] if value is not None))
    return sums


def forward(logits: Tensor, labels: Tensor, backend: Backend) -> Rows:
    """Each row's cross entropy, log normaliser and prediction; outside autograd."""
    fused = _load(logits, backend)
    if fused is not None:
        return Rows(*fused.forward(logits, labels, IGNORED))
    wide = torch.promote_types(logits.dtype, torch.float32)
    log_normalisers, predictions = [], []
    for chunk in logits.split(_chunk_rows(logits)):
        chunk = chunk.to(wide)
        peak, prediction = chunk.max(1)  # (rows,)
        log_normalisers.append((chunk - peak[:, None]).exp_().sum(1).log_() + peak)
        predictions.append(prediction)
    log_normaliser = torch.cat(log_normalisers)  # (R,)
    label_logits = logits.gather(1, labels.clamp(min=0)[:, None]).squeeze(1).to(wide)  # (R,)
    return Rows((log_normaliser - label_logits).mul_(labels != IGNORED), log_normaliser, torch.cat(predictions))


def backward(
    out: Tensor,
    logits: Tensor,
    labels: Tensor,
    log_normalisers: Tensor,
    loss_gradient: Tensor,
    backend: Backend,
    z_weight: float,
) -> None:
    """Write the gradient of the logits into `out`, which may be the logits themselves; outside autograd.

    The derivative of a row's loss is (1 + 2 z_weight log Z) softmax(logits) - one_hot(label).
    """
    fused = _load(logits, backend)
    if fused is not None:
        fused.backward(out, logits, labels, log_normalisers, loss_gradient, IGNORED, z_weight)
        return
    chunks = zip(*(x.split(_chunk_rows(logits)) for x in (out, logits, labels, log_normalisers)), strict=True)
    for into, chunk, label, normaliser in chunks:
        error = (chunk.to(normaliser.dtype) - normaliser[:, None]).exp_()  # softmax
        if z_weight:
            error.mul_(1 + 2 * z_weight * normaliser[:, None])
        error.scatter_add_(1, label.clamp(min=0)[:, None], error.new_full((len(label), 1), -1.0))
        into.copy_(error.mul_(loss_gradient * (label != IGNORED)[:, None]))


def _load(logits: Tensor, backend: Backend) -> Any:
    """The kernels to use, or None for plain torch; the planner's tensors have no memory that C++ could read."""
    device = logits.device.type
    native = logits.dtype in NATIVE_DTYPES and not logits.is_meta
    if native and (kernels := backends.native_kernels("cross_entropy", backend, device)):
        return kernels
    return backends.triton_kernels("cross_entropy", backend, device)


def _chunk_rows(logits: Tensor) -> int:
    elements = CPU_CHUNK_ELEMENTS if logits.device.type == "cpu" else DEVICE_CHUNK_ELEMENTS
    return max(1, elements // logits.shape[1])
