"""Quantisation to FP8 with a scale per row, in Triton; see `pipeline.kernels.fp8`."""

import torch
import triton
import triton.language as tl
from torch import Tensor

WARPS = 4


@triton.jit
def quantise_kernel(
    x,  # (R, K)
    values,  # (R, K) e4m3 or e5m2, written
    scales,  # (R,) fp32, written
    width,
    RECIPROCAL: tl.constexpr,  # noqa: N803
    BLOCK: tl.constexpr,  # noqa: N803
):
    """One row per program."""
    row, columns = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    inside = columns < width
    loaded = tl.load(x + row * width + columns, mask=inside, other=0.0).to(tl.float32)
    ratio = tl.maximum(tl.max(tl.abs(loaded), 0) * RECIPROCAL, 1.1754943508222875e-38)
    scale = (ratio.to(tl.int32, bitcast=True) & 0x7F800000).to(tl.float32, bitcast=True) * 2.0
    # The reciprocal by its exponent: it is exact, which the division of the hardware need not be.
    reciprocal = (0x7F000000 - scale.to(tl.int32, bitcast=True)).to(tl.float32, bitcast=True)
    tl.store(values + row * width + columns, (loaded * reciprocal).to(values.dtype.element_ty), mask=inside)
    tl.store(scales + row, scale)


def quantise(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """See `pipeline.kernels.fp8.quantise`."""
    values = torch.empty(x.shape, dtype=dtype, device=x.device)
    scales = torch.empty(len(x), 1, dtype=torch.float32, device=x.device)
    quantise_kernel[(len(x),)](
        x, values, scales, x.shape[1],
        RECIPROCAL=1 / torch.finfo(dtype).max, BLOCK=triton.next_power_of_2(x.shape[1]), num_warps=WARPS,
    )  # fmt: skip
    return values, scales
