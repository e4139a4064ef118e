"""Products of linear layers in 8-bit floating point (FP8).

With `model.fp8` the four products of a layer, forward, and those of the gradients of their inputs have factors in FP8:
activations and weights in e4m3 (3 bits of mantissa), gradients in e5m2 (2 bits, wider range), the formats that
Micikevicius et al. 2022, "FP8 formats for deep learning", recommend. They are summed in fp32. Everything else,
parameters and checkpoints included, is as without FP8.

Each row of a factor has a scale of its own, which follows from the largest magnitude in this row. Nothing is kept from
step to step. A scale per tensor, taken from the magnitudes of earlier steps, would make a checkpoint depend on more
than weights and moments (law 5); a scale per tensor of the present step would make a token's result depend on the other
tokens of its micro-batch (law 2). A scale is a power of two, so that dividing by it is exact: a number is rounded once,
to the mantissa of its format, and a weight is rounded to the same number for both products, unless it is so much
smaller than the largest one of its row or column that it has fewer bits there.

The gradients of the weights are computed in the type of the activations. Their sums run over the tokens, so that both
factors would have to be quantised again by columns and transposed, for which two tensors of (T, H) or (T, I) are read
and written once more, the number of tokens would have to be a multiple of 16, and one large token would determine the
scale of a feature for all tokens.

`native` uses the tensor cores' FP8 products by `torch._scaled_mm`, on GPUs of compute capability 8.9 or higher.
`emulated` rounds to the same numbers on any device and multiplies them in fp32; it is slow, and meant for tests and
experiments. Both differ by the order of sums only.

Shapes: R rows (tokens T, or features), K summed features, C columns; x (T, I), weight (O, I).
"""

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.kernels import backends
from pipeline.kernels.backends import Backend
from pipeline.kernels.config import Fp8

FORWARD = torch.float8_e4m3fn
"""Type of activations and weights."""
BACKWARD = torch.float8_e5m2
"""Type of gradients."""
LEAST_CAPABILITY = (8, 9)
"""Lowest compute capability with products in FP8."""
EXPONENT = 0x7F800000
"""The bits of the exponent of a number in fp32."""
SMALLEST = 2.0**-126
"""The smallest normal number in fp32, which bounds the scale of a row of zeros."""


class Quantised(NamedTuple):
    """A matrix in FP8 with a scale for each row."""

    values: Tensor
    """(R, K), e4m3 or e5m2."""
    scales: Tensor
    """(R, 1) fp32, powers of two; the matrix is the values times these."""


def quantise(x: Tensor, dtype: torch.dtype, backend: Backend = "auto") -> Quantised:
    """Round a matrix to FP8, row by row.

    The scale of a row is the lowest power of two with which its largest magnitude is below the largest number of the
    format. Rows with infinities or NaN result in products that are not finite.

    Args:
        x: (R, K), contiguous.
        dtype: `FORWARD` or `BACKWARD`.
        backend: plain torch or Triton, whose results are equal bit for bit.
    """
    fused = backends.triton_kernels("fp8", backend, x.device.type)
    if fused is not None:
        return Quantised(*fused.quantise(x, dtype))
    largest = x.abs().amax(1, keepdim=True).float()  # (R, 1)
    ratio = (largest * (1 / torch.finfo(dtype).max)).clamp(min=SMALLEST)
    scales = (ratio.view(torch.int32) & EXPONENT).view(torch.float32) * 2
    return Quantised((x.float() / scales).to(dtype), scales)


def multiply(a: Quantised, b: Quantised, bias: Tensor | None, dtype: torch.dtype, fp8: Fp8) -> Tensor:
    """The product (R, C) of a (R, K) and the transpose of b (C, K), summed in fp32, and a bias (C,).

    Args:
        a, b: factors; at most `a` is in e5m2.
        bias: (C,) or None.
        dtype: type of the result; bf16 for `native`.
        fp8: "native" or "emulated".

    Raises:
        ValueError: `native` cannot run on this device, or not with a result of this type.
    """
    if fp8 == "native":
        check_native(a.values.device, dtype)
        bias = None if bias is None else bias.to(dtype)
        # Without fast accumulation, which keeps about 14 bits of a sum on Hopper.
        return torch._scaled_mm(
            a.values, b.values.t(), a.scales, b.scales.t(), bias=bias, out_dtype=dtype, use_fast_accum=False
        )
    with torch.autocast(a.values.device.type, enabled=False):
        out = (a.values.float() @ b.values.float().t()) * a.scales * b.scales.t()
        return (out if bias is None else out + bias.float()).to(dtype)


@cache
def check_native(device: torch.device, dtype: torch.dtype) -> None:
    """Raise ValueError if this device has no products in FP8, or none with results of this type."""
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < LEAST_CAPABILITY:
        raise ValueError(
            f"model.fp8 = native: must run on a GPU of compute capability 8.9 or higher, such as an H100, and this is "
            f"{device}; set it to none, or for experiments to emulated"
        )
    if dtype != torch.bfloat16:
        raise ValueError(f"model.fp8 = native: results must be bf16, not {dtype}; set engine.precision to bf16")


def forward_product(x: Tensor, weight: Tensor, bias: Tensor | None, fp8: Fp8, backend: Backend = "auto") -> Tensor:
    """x W^T + b (T, O), without a graph for FP8's backward pass.

    Args:
        x: (T, I).
        weight: (O, I).
        bias: (O,); None: there is none.
        fp8: "none", "native" or "emulated".
        backend: plain torch or Triton, for the quantisation.

    Raises:
        ValueError: see `multiply`.
    """
    if fp8 == "none":
        return functional.linear(x, weight, bias)
    backend = _quantiser(fp8, backend)
    rows, columns = (quantise(factor.contiguous(), FORWARD, backend) for factor in (x, weight))
    return multiply(rows, columns, bias, backends.compute_dtype(x), fp8)


def input_gradient(
    grad: Tensor, weight: Tensor, fp8: Fp8, backend: Backend = "auto", other: Tensor | None = None
) -> Tensor:
    """The gradient (T, I) of x in x W^T, from that of the product, (T, O).

    Args:
        grad: (T, O).
        weight: (O, I).
        fp8, backend: as in `forward_product`.
        other: (T, I), another gradient of x, overwritten by the sum; None: there is none.

    Raises:
        ValueError: see `multiply`.
    """
    if fp8 == "none" and other is not None and other.dtype == grad.dtype:  # they differ under autocast
        return other.addmm_(grad, weight.to(grad.dtype))
    if fp8 == "none":
        gradient = grad @ weight.to(grad.dtype)
    else:
        backend = _quantiser(fp8, backend)
        rows, columns = (
            quantise(grad.contiguous(), BACKWARD, backend),
            quantise(weight.t().contiguous(), FORWARD, backend),
        )
        gradient = multiply(rows, columns, None, grad.dtype, fp8)
    return gradient if other is None else other.add_(gradient)


def _quantiser(fp8: Fp8, backend: Backend) -> Backend:
    """The emulation also runs on GPUs for which Triton cannot compile conversions to e4m3."""
    return "plain" if fp8 == "emulated" else backend
