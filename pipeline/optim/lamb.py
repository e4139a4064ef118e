"""The mathematics of LAMB and AdamW (hyper-parameters, variants, trust ratios), without communication between ranks.

LAMB (You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes",
https://arxiv.org/abs/1904.00962, Algorithm 2) for one tensor w with gradient g at step t = 1, 2, ...:

    m_t = beta1 m_{t-1} + (1 - beta1) g                    v_t = beta2 v_{t-1} + (1 - beta2) g^2
    m^  = m_t / (1 - beta1^t)                              v^  = v_t / (1 - beta2^t)
    u   = m^ / (sqrt(v^) + eps) + lambda w
    w  <- w - lr * ratio * u,    ratio = ||w|| / ||u||  (1 where either norm is zero)

Two published variants differ in the tensors to which the ratio is applied:

* `nvidia`, NVIDIA apex `FusedLAMB` (used for the published BERT-large results): tensors with weight decay only; biases
  and LayerNorm have Adam steps. The global gradient is clipped first.
* `paper`, tensorflow_addons `LAMB` (the code to which the paper refers): all tensors outside the exclusion list, also
  when lambda = 0.

Because biases and LayerNorm are on BERT's exclusion list, the two coincide unless weight_decay is 0.

AdamW (Loshchilov & Hutter, https://arxiv.org/abs/1711.05101, Algorithm 2) is the same with a ratio of 1 for every
tensor: w - lr * u is w (1 - lr * lambda) - lr * m^ / (sqrt(v^) + eps). Without bias correction m^ = m and v^ = v, as in
the optimizers of google-research/bert (AdamW) and google-research/albert (LAMB).

Global clipping happens before the update, over all ranks, and is not part of this module. `pipeline.kernels.lamb`
computes the elementwise operations (m, v, u and the step).
"""

import torch
from torch import Tensor

from pipeline.kernels.lamb.interface import Coefficients
from pipeline.optim.config import OptimizerConfig


def takes_ratio(config: OptimizerConfig, decayed: bool) -> bool:
    """Whether the step of a tensor is scaled by a trust ratio.

    Args:
        config: hyper-parameters, including the variant.
        decayed: True for tensors outside the exclusion list (weights, not biases or LayerNorm).
    """
    if config.name != "lamb":
        return False
    return decayed and (config.variant == "paper" or config.weight_decay != 0)


def coefficients(config: OptimizerConfig, *, lr: float, step: int, decayed: bool) -> Coefficients:
    """The coefficients of a step for tensors with or without weight decay.

    Args:
        config: hyper-parameters.
        lr: learning rate of the step; for tensors with AdamW steps it is multiplied by `adam_lr_factor`.
        step: number of the step, from 1.
        decayed: True for tensors outside the exclusion list.
    """
    return Coefficients(
        lr=lr if takes_ratio(config, decayed) else lr * config.adam_lr_factor,
        beta1=config.beta1,
        beta2=config.beta2,
        eps=config.eps,
        weight_decay=config.weight_decay if decayed else 0.0,
        step=step,
        bias_correction=config.bias_correction,
    )


def trust_ratios(param_sq: Tensor, direction_sq: Tensor) -> Tensor:
    """The trust ratios ||w|| / ||u|| of k tensors from sums of squares.

    Args:
        param_sq: (k,) float64, sums of w^2.
        direction_sq: (k,) float64, sums of u^2.

    Returns:
        (k,) float32; 1 where either norm is zero. The norms are rounded to float32 before the division, so that
        float64 sums in another order, as for another partition, give the same ratio bit for bit.
    """
    param_norm = param_sq.sqrt().float()
    direction_norm = direction_sq.sqrt().float()
    valid = (param_norm > 0) & (direction_norm > 0)
    return torch.where(valid, param_norm / direction_norm, torch.ones_like(param_norm))
