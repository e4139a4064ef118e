"""Layer normalisation and embeddings whose parameter gradients are accumulated in fp32.

On a CPU torch accumulates the gradients of 16-bit embeddings, and of the weight and bias of a layer normalisation, in
16 bits, row by row. At 8,192 tokens those of the two segment embeddings and of such biases have a relative error of
three quarters. Here these sums are accumulated in fp32 and rounded once. On other devices torch's own operations do the
same, and are used.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor | None, eps: float) -> Tensor:
    """`torch.nn.functional.layer_norm` over the last dimension.

    Args:
        x: (T, H).
        weight: (H,).
        bias: (H,); None: there is none.
        eps: added to the variance.

    Returns:
        (T, H).
    """
    if _adds_in_16_bits(x):
        out: Tensor = _LayerNorm.apply(x, weight, bias, eps)
        return out
    return functional.layer_norm(x, weight.shape, weight, bias, eps)


def embedding(ids: Tensor, weight: Tensor) -> Tensor:
    """`torch.nn.functional.embedding`.

    Args:
        ids: (T,) indices of rows of the table.
        weight: (V, H) table.

    Returns:
        (T, H).
    """
    if _adds_in_16_bits(weight):
        out: Tensor = _Embedding.apply(ids, weight)
        return out
    return functional.embedding(ids, weight)


class LayerNorm(nn.LayerNorm):
    """`layer_norm` as a module."""

    def forward(self, x: Tensor) -> Tensor:
        return layer_norm(x, self.weight, self.bias, self.eps)


class Embedding(nn.Embedding):
    """`embedding` as a module."""

    def forward(self, ids: Tensor) -> Tensor:
        return embedding(ids, self.weight)


def _adds_in_16_bits(x: Tensor) -> bool:
    return (
        x.device.type == "cpu" and x.dtype in (torch.bfloat16, torch.float16) and not torch.is_autocast_enabled("cpu")
    )


class _LayerNorm(torch.autograd.Function):
    """Saves the same tensors for the backward pass as torch's own operation."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, eps: float) -> Tensor:
        out, mean, rstd = torch.native_layer_norm(x, weight.shape, weight, bias, eps)
        ctx.save_for_backward(x, weight, mean, rstd)
        ctx.has_bias = bias is not None
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, rstd = ctx.saved_tensors
        grad = grads[0].contiguous()
        mask = [True, False, False]
        dx, _, _ = torch.ops.aten.native_layer_norm_backward(grad, x, weight.shape, mean, rstd, weight, None, mask)
        normal = (x.float() - mean).mul_(rstd).mul_(grad)  # (T, H) fp32
        bias_grad = grad.sum(0, dtype=torch.float32).to(weight.dtype) if ctx.has_bias else None
        return dx, normal.sum(0).to(weight.dtype), bias_grad, None


class _Embedding(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, ids: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.rows = len(weight)
        return functional.embedding(ids, weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (ids,) = ctx.saved_tensors
        (grad,) = grads
        wide = torch.ops.aten.embedding_dense_backward(grad.float(), ids, ctx.rows, -1, False)
        return None, wide.to(grad.dtype)
