"""LayerNorm(residual + dropout(x)) in Triton, with one kernel for the forward and one for the backward pass."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from pipeline.kernels.dropout import draw_seed, sixteen_bits
from pipeline.kernels.triton.dropout import PER_CALL, scaled_keep

TILE = 2048
"""Elements that a program processes at a time: two rows of BERT-large."""
WARPS = 4
PROGRAMS = 1024
"""Most programs of the backward pass. Each holds the gradients of weight and bias and of the bias of the product
before, summed over its rows, in registers and writes them once: 12 MB in total for 1024 columns, where the gradients of
32768 tokens are 64 MB each."""


@triton.jit
def _places(start, num_rows, width, ROWS: tl.constexpr, BLOCK: tl.constexpr):  # noqa: N803
    rows = start + tl.arange(0, ROWS).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    mask = (rows < num_rows)[:, None] & (columns < width)[None, :]
    return rows, columns, rows[:, None] * width + columns[None, :], mask


@triton.jit
def forward_kernel(
    x,  # (T, H)
    residual,  # (T, H)
    weight,  # (H,)
    bias,  # (H,)
    seed,  # () int64, read if DROP
    out,  # (T, H), written
    statistics,  # (2, T) fp32, written: mean, 1 / standard deviation
    num_rows,
    width,
    eps,
    threshold,
    scale,
    DROP: tl.constexpr,  # noqa: N803
    ROWS: tl.constexpr,  # noqa: N803
    BLOCK: tl.constexpr,  # noqa: N803 - at least H
):
    """Output and statistics of ROWS rows per program."""
    start = tl.program_id(0).to(tl.int64) * ROWS
    rows, columns, at, mask = _places(start, num_rows, width, ROWS, BLOCK)
    branch = tl.load(x + at, mask=mask, other=0.0).to(tl.float32)
    if DROP:
        branch *= scaled_keep(tl.load(seed), rows, threshold, scale, BLOCK)
    total = tl.load(residual + at, mask=mask, other=0.0).to(tl.float32) + branch
    mean = tl.sum(total, 1) / width
    centred = tl.where(mask, total - mean[:, None], 0.0)
    rstd = 1.0 / tl.sqrt_rn(tl.sum(centred * centred, 1) / width + eps)
    gain = tl.load(weight + columns, mask=columns < width, other=0.0).to(tl.float32)
    shift = tl.load(bias + columns, mask=columns < width, other=0.0).to(tl.float32)
    normed = centred * rstd[:, None] * gain[None, :] + shift[None, :]
    tl.store(out + at, normed.to(out.dtype.element_ty), mask=mask)
    tl.store(statistics + rows, mean, mask=rows < num_rows)
    tl.store(statistics + num_rows + rows, rstd, mask=rows < num_rows)


@triton.jit
def backward_kernel(
    grad,  # (T, H) of the output
    x,  # (T, H)
    residual,  # (T, H)
    weight,  # (H,)
    seed,  # () int64, read if DROP
    statistics,  # (2, T) fp32
    x_grad,  # (T, H), written if DROP
    residual_grad,  # (T, H), written
    partials,  # (3, P, H) fp32, written: sums over a program's rows for weight and bias, and of the gradient of x
    num_rows,
    width,
    threshold,
    scale,
    DROP: tl.constexpr,  # noqa: N803
    ROWS: tl.constexpr,  # noqa: N803
    BLOCK: tl.constexpr,  # noqa: N803 - at least H
):
    """Gradients of every P-th group of ROWS rows per program; the sum is computed again from x and the residual."""
    program, programs = tl.program_id(0).to(tl.int64), tl.num_programs(0)
    columns = tl.arange(0, BLOCK)
    gain = tl.load(weight + columns, mask=columns < width, other=0.0).to(tl.float32)
    weight_sum = tl.zeros((BLOCK,), tl.float32)
    bias_sum = tl.zeros((BLOCK,), tl.float32)
    x_sum = tl.zeros((BLOCK,), tl.float32)
    start = program * ROWS
    while start < num_rows:
        rows, columns, at, mask = _places(start, num_rows, width, ROWS, BLOCK)
        total = tl.load(residual + at, mask=mask, other=0.0).to(tl.float32)
        branch = tl.load(x + at, mask=mask, other=0.0).to(tl.float32)
        dy = tl.load(grad + at, mask=mask, other=0.0).to(tl.float32)
        if DROP:
            kept = scaled_keep(tl.load(seed), rows, threshold, scale, BLOCK)
            branch *= kept
        mean = tl.load(statistics + rows, mask=rows < num_rows, other=0.0)
        rstd = tl.load(statistics + num_rows + rows, mask=rows < num_rows, other=0.0)
        normed = tl.where(mask, (total + branch - mean[:, None]) * rstd[:, None], 0.0)
        weight_sum += tl.sum(dy * normed, 0)
        bias_sum += tl.sum(dy, 0)
        scaled = dy * gain[None, :]
        along = tl.sum(scaled * normed, 1) / width
        average = tl.sum(scaled, 1) / width
        dsum = (scaled - normed * along[:, None] - average[:, None]) * rstd[:, None]
        tl.store(residual_grad + at, dsum.to(residual_grad.dtype.element_ty), mask=mask)
        if DROP:
            dsum *= kept
            tl.store(x_grad + at, dsum.to(x_grad.dtype.element_ty), mask=mask)
        x_sum += tl.sum(dsum, 0)
        start += programs * ROWS
    slot = partials + program * width + columns
    tl.store(slot, weight_sum, mask=columns < width)
    tl.store(slot + programs * width, bias_sum, mask=columns < width)
    tl.store(slot + 2 * programs * width, x_sum, mask=columns < width)


class ResidualNorm(torch.autograd.Function):
    """Saves x and the residual instead of their sum; the earlier product that reads the residual saves it anyway."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        residual: Tensor,
        weight: Tensor,
        bias: Tensor,
        eps: float,
        dropout_p: float,
        seed: Tensor | None,
        port: Tensor | None,
    ) -> Tensor:
        x, residual = x.contiguous(), residual.contiguous()
        seed = draw_seed(dropout_p, x.device) if seed is None else seed
        out = torch.empty_like(residual, dtype=torch.promote_types(residual.dtype, weight.dtype))
        statistics = torch.empty(2, len(x), dtype=torch.float32, device=x.device)
        ctx.numbers = sixteen_bits(dropout_p)
        shape = _shape(x, ctx.numbers)
        forward_kernel[(triton.cdiv(len(x), shape["ROWS"]),)](
            x, residual, weight, bias, seed, out, statistics, *x.shape, eps, *ctx.numbers, **shape
        )
        ctx.save_for_backward(x, residual, weight, seed, statistics)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, residual, weight, seed, statistics = ctx.saved_tensors
        residual_grad, shape = torch.empty_like(residual), _shape(x, ctx.numbers)
        # Without dropout both terms of the sum have the same gradient; autograd casts it where their types differ.
        x_grad = torch.empty_like(x) if shape["DROP"] else residual_grad
        programs = min(PROGRAMS, triton.cdiv(len(x), shape["ROWS"]))
        partials = torch.empty(3, programs, x.shape[1], dtype=torch.float32, device=x.device)
        backward_kernel[(programs,)](
            grad.contiguous(), x, residual, weight, seed, statistics, x_grad, residual_grad, partials, *x.shape,
            *ctx.numbers, **shape,
        )  # fmt: skip
        weight_grad, bias_grad, port_grad = partials.sum(1)
        port_grad = port_grad if ctx.needs_input_grad[-1] else None
        return x_grad, residual_grad, weight_grad, bias_grad, None, None, None, port_grad


def _shape(x: Tensor, numbers: tuple[int, float]) -> dict[str, Any]:
    block = max(triton.next_power_of_2(x.shape[1]), PER_CALL)
    return {"DROP": numbers[0] > 0, "ROWS": max(1, TILE // block), "BLOCK": block, "num_warps": WARPS}
