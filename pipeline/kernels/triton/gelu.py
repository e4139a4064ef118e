"""The backward pass of the GELU in a feed-forward network, in Triton; see `pipeline.kernels.gelu`."""

from typing import Literal

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE = 2048
COLUMNS = 1024
"""A program processes TILE elements at a time, in at most COLUMNS columns: two 16-byte loads of each 16-bit tensor per
thread."""
WARPS = 4
PROGRAMS = 1024
"""Most programs of a launch. Each holds the sums of its columns in registers and writes them once."""


@triton.jit
def _gelu(x, TANH: tl.constexpr):  # noqa: N803
    """The GELU of x and its derivative."""
    if TANH:
        cubic = x * x * 0.044715
        # (1 + tanh(u)) / 2 is the logistic function of 2u.
        share = tl.sigmoid(1.5957691216057308 * x * (1.0 + cubic))
        slope = share + x * share * (1.0 - share) * 1.5957691216057308 * (1.0 + 3.0 * cubic)
    else:
        share = 0.5 + 0.5 * tl.erf(x * 0.7071067811865476)
        slope = share + x * 0.3989422804014327 * tl.exp(-0.5 * x * x)
    return x * share, slope


@triton.jit
def backward_kernel(
    grad,  # (T, I) of the output, replaced by the gradient of the input
    x,  # (T, I), the input
    out,  # (T, I), the output, written if RECOMPUTE
    partials,  # (P, I) fp32, written: sums over a program's rows of the input's gradient
    num_rows,
    width,
    TANH: tl.constexpr,  # noqa: N803
    RECOMPUTE: tl.constexpr,  # noqa: N803
    ROWS: tl.constexpr,  # noqa: N803
    BLOCK: tl.constexpr,  # noqa: N803
):
    """Gradient of the input in BLOCK columns of every P-th group of ROWS rows, per program."""
    program, programs = tl.program_id(0).to(tl.int64), tl.num_programs(0)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), tl.float32)
    start = program * ROWS
    while start < num_rows:
        rows = start + tl.arange(0, ROWS)
        at = rows[:, None] * width + columns[None, :]
        mask = (rows < num_rows)[:, None] & (columns < width)[None, :]
        output, slope = _gelu(tl.load(x + at, mask=mask, other=0.0).to(tl.float32), TANH)
        slope *= tl.load(grad + at, mask=mask, other=0.0).to(tl.float32)
        tl.store(grad + at, slope.to(grad.dtype.element_ty), mask=mask)
        if RECOMPUTE:
            tl.store(out + at, output.to(out.dtype.element_ty), mask=mask)
        total += tl.sum(slope, 0)
        start += programs * ROWS
    tl.store(partials + program * width + columns, total, mask=columns < width)


def backward_(
    grad: Tensor, x: Tensor, approximate: Literal["none", "tanh"], recompute: bool
) -> tuple[Tensor | None, Tensor]:
    """See `pipeline.kernels.gelu.backward_`."""
    out = torch.empty_like(x) if recompute else None
    block = min(COLUMNS, triton.next_power_of_2(x.shape[1]))
    rows, blocks = TILE // block, triton.cdiv(x.shape[1], block)
    programs = min(max(1, PROGRAMS // blocks), triton.cdiv(len(x), rows))
    partials = torch.empty(programs, x.shape[1], dtype=torch.float32, device=x.device)
    backward_kernel[(programs, blocks)](
        grad, x, x if out is None else out, partials, *x.shape,
        TANH=approximate == "tanh", RECOMPUTE=recompute, ROWS=rows, BLOCK=block, num_warps=WARPS,
    )  # fmt: skip
    return out, partials.sum(0)
