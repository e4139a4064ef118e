"""LAMB in Triton for GPUs, with at most three launches per partition and step, no atomics and no read by the host.

A program processes one chunk, which lies in one tensor. Full chunks are aligned and accessed in 16-byte vectors, the
unaligned ends of fragments element by element. Divisions and square roots are correctly rounded. With
TRITON_INTERPRET=1 the same code runs on the CPU, slowly; the tests use this.
"""

import torch
from torch import Tensor

from pipeline.kernels.backends import UnavailableError
from pipeline.kernels.lamb.interface import Coefficients, Partition, State

try:
    import triton
    import triton.language as tl
except ImportError as error:  # pragma: no cover - the message is tested through `choose`
    raise UnavailableError(f"Triton is not installed ({error})") from None

BLOCK = 2048
"""Elements of a program. With 8 warps each thread has two 16-byte loads of each array in flight. At 80 registers per
thread three programs share a multiprocessor, so that one loads while another computes."""
ALIGN = 4
"""Elements in 16 bytes."""
WARPS = 8
REDUCE_BLOCK = 1024


@triton.jit
def _moments(exp_avg, exp_avg_sq, grad, numbers):
    grad *= numbers[9]
    exp_avg = exp_avg * numbers[1] + grad * numbers[2]
    exp_avg_sq = exp_avg_sq * numbers[3] + grad * grad * numbers[4]
    return exp_avg, exp_avg_sq


@triton.jit
def _direction(param, exp_avg, exp_avg_sq, numbers):
    denominator = tl.sqrt_rn(exp_avg_sq) * numbers[8] + numbers[5]
    return tl.div_rn(exp_avg * numbers[7], denominator) + numbers[6] * param


@triton.jit
def _moments_of_chunk(w, g, m, v, numbers, partial, at, mask):
    param = tl.load(w + at, mask=mask)
    grad = tl.load(g + at, mask=mask)
    exp_avg, exp_avg_sq = _moments(tl.load(m + at, mask=mask), tl.load(v + at, mask=mask), grad, numbers)
    tl.store(m + at, exp_avg, mask=mask)
    tl.store(v + at, exp_avg_sq, mask=mask)
    update = _direction(param, exp_avg, exp_avg_sq, numbers)
    tl.store(g + at, update, mask=mask)
    if mask is not None:  # the values of lanes behind the end of the chunk are undefined
        param, update = tl.where(mask, param, 0.0), tl.where(mask, update, 0.0)
    wide_param, wide_update = param.to(tl.float64), update.to(tl.float64)
    tl.store(partial, tl.sum(wide_param * wide_param, 0))
    tl.store(partial + 1, tl.sum(wide_update * wide_update, 0))


@triton.jit
def moments_kernel(
    w,  # (n,) fp32
    g,  # (n,) fp32, replaced by u
    m,  # (n,) fp32, written
    v,  # (n,) fp32, written
    # fp32 by value, in the order of Coefficients.floats
    lr,
    beta1,
    one_minus_beta1,
    beta2,
    one_minus_beta2,
    eps,
    weight_decay,
    scale1,
    scale2,
    grad_scale,
    chunks,  # (C, 3) int64
    partials,  # (C, 2) fp64, written
    BLOCK: tl.constexpr,  # noqa: N803
    ALIGN: tl.constexpr,  # noqa: N803
):
    """Update the moments of one chunk per program, and store the sums of squares of w and u in the chunk's slot."""
    numbers = (lr, beta1, one_minus_beta1, beta2, one_minus_beta2, eps, weight_decay, scale1, scale2, grad_scale)
    chunk = tl.program_id(0)
    start, stop = tl.load(chunks + 3 * chunk), tl.load(chunks + 3 * chunk + 1)
    partial = partials + 2 * chunk
    lanes = tl.arange(0, BLOCK)
    if stop - start == BLOCK:
        _moments_of_chunk(w, g, m, v, numbers, partial, tl.multiple_of(start, ALIGN) + lanes, None)
    else:
        _moments_of_chunk(w, g, m, v, numbers, partial, start + lanes, start + lanes < stop)


@triton.jit
def sum_kernel(
    partials,  # (C, 2) fp64
    bounds,  # (k + 1,) int64
    sums,  # (k, 2) fp64, written
    BLOCK: tl.constexpr,  # noqa: N803
):
    """Add the sums of the chunks of one tensor per program, in a fixed order."""
    tensor = tl.program_id(0)
    position, end = tl.load(bounds + tensor), tl.load(bounds + tensor + 1)
    param_sq = tl.zeros((BLOCK,), tl.float64)
    update_sq = tl.zeros((BLOCK,), tl.float64)
    while position < end:
        at = position + tl.arange(0, BLOCK)
        param_sq += tl.load(partials + 2 * at, mask=at < end, other=0.0)
        update_sq += tl.load(partials + 2 * at + 1, mask=at < end, other=0.0)
        position += BLOCK
    tl.store(sums + 2 * tensor, tl.sum(param_sq, 0))
    tl.store(sums + 2 * tensor + 1, tl.sum(update_sq, 0))


@triton.jit
def _update_chunk(w, g, m, v, model, numbers, rate, at, mask, ADAM: tl.constexpr, MODEL: tl.constexpr):  # noqa: N803
    param = tl.load(w + at, mask=mask)
    update = tl.load(g + at, mask=mask)  # u or, if ADAM, the gradient
    if ADAM:
        exp_avg, exp_avg_sq = _moments(tl.load(m + at, mask=mask), tl.load(v + at, mask=mask), update, numbers)
        tl.store(m + at, exp_avg, mask=mask)
        tl.store(v + at, exp_avg_sq, mask=mask)
        update = _direction(param, exp_avg, exp_avg_sq, numbers)
    param -= rate * update
    tl.store(w + at, param, mask=mask)
    if MODEL:
        tl.store(model + at, param.to(model.dtype.element_ty), mask=mask)


@triton.jit
def update_kernel(
    w,  # (n,) fp32, written
    g,  # (n,) fp32: the gradient if ADAM, else u
    m,  # (n,) fp32, read and written if ADAM
    v,  # (n,) fp32, read and written if ADAM
    model,  # (n,) bf16 or fp16, written if MODEL
    # fp32 by value, in the order of Coefficients.floats
    lr,
    beta1,
    one_minus_beta1,
    beta2,
    one_minus_beta2,
    eps,
    weight_decay,
    scale1,
    scale2,
    grad_scale,
    chunks,  # (C, 3) int64
    ratios,  # (k,) fp32, read unless ADAM
    ADAM: tl.constexpr,  # noqa: N803 - whether the moments are updated in the same pass, without a trust ratio
    MODEL: tl.constexpr,  # noqa: N803
    BLOCK: tl.constexpr,  # noqa: N803
    ALIGN: tl.constexpr,  # noqa: N803
):
    """Update one chunk per program: w -= lr * ratio * u."""
    numbers = (lr, beta1, one_minus_beta1, beta2, one_minus_beta2, eps, weight_decay, scale1, scale2, grad_scale)
    chunk = tl.program_id(0)
    start, stop = tl.load(chunks + 3 * chunk), tl.load(chunks + 3 * chunk + 1)
    rate = lr
    if not ADAM:
        rate *= tl.load(ratios + tl.load(chunks + 3 * chunk + 2))
    lanes = tl.arange(0, BLOCK)
    if stop - start == BLOCK:
        _update_chunk(w, g, m, v, model, numbers, rate, tl.multiple_of(start, ALIGN) + lanes, None, ADAM, MODEL)
    else:
        _update_chunk(w, g, m, v, model, numbers, rate, start + lanes, start + lanes < stop, ADAM, MODEL)


class CudaKernel:
    """`LambKernel` with Triton kernels, for CUDA."""

    def moments(self, state: State, partition: Partition, numbers: Coefficients) -> Tensor:
        """See `LambKernel`."""
        table, bounds = partition.chunks(BLOCK, ALIGN, state.param.device)
        partials = torch.empty(len(table), 2, dtype=torch.float64, device=table.device)
        sums = torch.empty(partition.num_tensors, 2, dtype=torch.float64, device=table.device)
        if len(table):
            moments_kernel[(len(table),)](
                *state[:4], *numbers.floats(), table, partials, BLOCK=BLOCK, ALIGN=ALIGN, num_warps=WARPS
            )
        sum_kernel[(partition.num_tensors,)](partials, bounds, sums, BLOCK=REDUCE_BLOCK)
        return sums

    def apply(self, state: State, partition: Partition, numbers: Coefficients, ratios: Tensor) -> None:
        """See `LambKernel`."""
        self._update(state, partition, numbers, ratios, adam=False)

    def adam(self, state: State, partition: Partition, numbers: Coefficients) -> None:
        """See `LambKernel`."""
        self._update(state, partition, numbers, state.param, adam=True)

    def _update(self, state: State, partition: Partition, numbers: Coefficients, ratios: Tensor, adam: bool) -> None:
        table, _ = partition.chunks(BLOCK, ALIGN, state.param.device)
        if not len(table):
            return
        update_kernel[(len(table),)](
            *state[:4],
            state.param if state.model is None else state.model,
            *numbers.floats(),
            table,
            ratios,
            ADAM=adam,
            MODEL=state.model is not None,
            BLOCK=BLOCK,
            ALIGN=ALIGN,
            num_warps=WARPS,
        )
