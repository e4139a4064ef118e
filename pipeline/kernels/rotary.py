"""Rotary positions: queries and keys are rotated by angles that are proportional to their position.

Features k and k + D / 2 of a head are a pair that is rotated by m w_k at position m, with w_k = theta^(-2 k / D). A
product of a rotated query and a rotated key depends on the distance of their positions, and not on the positions.
Source: Su et al. 2021, RoFormer (https://arxiv.org/abs/2104.09864), section 3.2, which pairs neighbouring features;
pairs of features D / 2 apart are those of GPT-NeoX and of `transformers`.

Angles, cosines and sines are computed in fp32 whatever the type of the queries and keys: in 16 bits, positions above
256 would share angles.

Shapes: T tokens, N heads, D head_dim.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor


class Rotation(NamedTuple):
    """The rotations of the tokens of a micro-batch, (T, D / 2) fp32 each."""

    cosine: Tensor
    sine: Tensor


def rotation(position_ids: Tensor, head_dim: int, theta: float) -> Rotation:
    """Return the rotations of tokens at given positions.

    Args:
        position_ids: (T,) integers, positions within the sequences.
        head_dim: D, an even number.
        theta: base of the frequencies.
    """
    angles = position_ids[:, None].float() * frequencies(head_dim, theta, position_ids.device)  # (T, D / 2)
    return Rotation(angles.cos(), angles.sin())


def frequencies(head_dim: int, theta: float, device: torch.device | None = None) -> Tensor:
    """Return the frequencies w_k, (D / 2,) fp32 in radians per token, the highest one first.

    Args:
        head_dim: D, an even number.
        theta: their base.
        device: device of the result; None: the default one.
    """
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32, device=device) / head_dim
    return 1.0 / theta**exponents


def rotate(qkv: Tensor, by: Rotation) -> Tensor:
    """Rotate queries and keys.

    Args:
        qkv: (T, 3, N, D) queries, keys and values.
        by: the rotations of the tokens.

    Returns:
        (T, 3, N, D) in the type of `qkv`, with unchanged values.
    """
    out: Tensor = _Rotate.apply(qkv, *by)
    return out


class _Rotate(torch.autograd.Function):
    """Saves the rotations alone: the gradient is rotated back."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        ctx.save_for_backward(cosine, sine)
        return _rotated(qkv, cosine, sine)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        cosine, sine = ctx.saved_tensors
        return _rotated(grad, cosine, -sine), None, None


def _rotated(qkv: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    first, second = qkv[:, :2].to(torch.promote_types(qkv.dtype, cosine.dtype)).chunk(2, -1)  # (T, 2, N, D / 2)
    cosine, sine = cosine[:, None, None], sine[:, None, None]  # (T, 1, 1, D / 2)
    pairs = torch.cat((first * cosine - second * sine, second * cosine + first * sine), -1)
    return torch.cat((pairs.to(qkv.dtype), qkv[:, 2:]), 1)
