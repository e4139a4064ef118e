"""The LAMB update as pure tensor functions: no communication, no notion of ranks.

LAMB (You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes",
https://arxiv.org/abs/1904.00962, Algorithm 2) for one tensor w with gradient g at step t = 1, 2, ...:

    m_t = beta1 m_{t-1} + (1 - beta1) g                    v_t = beta2 v_{t-1} + (1 - beta2) g^2
    m^  = m_t / (1 - beta1^t)                              v^  = v_t / (1 - beta2^t)
    u   = m^ / (sqrt(v^) + eps) + lambda w
    w  <- w - lr * ratio * u,    ratio = ||w|| / ||u||  (1 where either norm is zero)

Two published variants differ in the tensors that take the ratio:

* `nvlamb`, NVIDIA apex `FusedLAMB` (the recipe behind the published BERT-large figures): only tensors with
  weight decay; biases and LayerNorm take plain Adam steps. The global gradient is clipped first.
* `paper`, tensorflow_addons `LAMB` (the code the paper links): every tensor outside the exclusion list,
  also when lambda = 0.

Because biases and LayerNorm are on BERT's exclusion list, the two coincide unless weight_decay is 0.
Global clipping happens before the update, over all ranks, and is not part of these functions.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class OptimizerConfig:
    """LAMB and gradient clipping."""

    lr: float = 6e-3
    """Peak learning rate, reached at the end of warm-up."""
    beta1: float = 0.9
    """Decay of the first moment, per step."""
    beta2: float = 0.999
    """Decay of the second moment, per step."""
    eps: float = 1e-6
    """Added to the root of the second moment."""
    weight_decay: float = 0.01
    """Decoupled weight decay; biases and LayerNorm take none."""
    max_grad_norm: float = 1.0
    """Global gradient norm above which gradients are scaled down; 0 turns clipping off."""
    variant: Literal["nvlamb", "paper"] = "nvlamb"
    """Which tensors take a trust ratio: those with weight decay (NVIDIA apex) or all outside the exclusion list."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("lr", 0.0, None),
            ("beta1", 0.0, 1.0),
            ("beta2", 0.0, 1.0),
            ("eps", 0.0, None),
            ("weight_decay", 0.0, None),
            ("max_grad_norm", 0.0, None),
        ):
            value = getattr(self, name)
            if not value >= low or (high is not None and value >= high):
                bound = f"at least {low:g}" + (f" and below {high:g}" if high is not None else "")
                raise ValueError(f"optimizer.{name} = {value}: must be {bound}")


def takes_ratio(config: OptimizerConfig, decayed: bool) -> bool:
    """Whether a tensor takes a trust ratio.

    Args:
        config: the variant and its weight decay.
        decayed: True for tensors outside the exclusion list (weights, not biases or LayerNorm).
    """
    return decayed and (config.variant == "paper" or config.weight_decay != 0)


def adam_direction_(
    param: Tensor,  # (n,) fp32
    grad: Tensor,  # (n,) fp32, clipped
    exp_avg: Tensor,  # (n,) fp32, updated in place
    exp_avg_sq: Tensor,  # (n,) fp32, updated in place
    *,
    step: int,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
) -> Tensor:
    """Update the moments in place and return u (n,), the step's direction before the trust ratio.

    Elementwise, so it may be applied to any slice of a tensor. `step` counts from 1.
    """
    exp_avg.lerp_(grad, 1 - beta1)
    exp_avg_sq.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
    denominator = exp_avg_sq.div(1 - beta2**step).sqrt_().add_(eps)  # (n,)
    direction = exp_avg.div(denominator).div_(1 - beta1**step)  # (n,)
    if weight_decay:
        direction.add_(param, alpha=weight_decay)
    return direction


def trust_ratios(param_sq: Tensor, direction_sq: Tensor) -> Tensor:
    """||w|| / ||u|| from sums of squares.

    Args:
        param_sq: (k,) float64, sum of w^2 of k tensors.
        direction_sq: (k,) float64, sum of u^2.

    Returns:
        (k,) float32; 1 where either norm is zero. The norms are rounded to float32 before the division, so that
        float64 sums taken in another order (another partition) still give the same ratio bit for bit.
    """
    param_norm = param_sq.sqrt().float()
    direction_norm = direction_sq.sqrt().float()
    valid = (param_norm > 0) & (direction_norm > 0)
    return torch.where(valid, param_norm / direction_norm, torch.ones_like(param_norm))
