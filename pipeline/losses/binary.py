"""Binary cross entropy summed over rows, in fp32 whatever the logits' type."""

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.losses.cross_entropy import RowSum


def binary_cross_entropy_sum(logits: Tensor, labels: Tensor, real: Tensor) -> RowSum:
    """Sum over real rows of -log sigmoid(logit) or, where the label is False, -log sigmoid(-logit).

    Args:
        logits: (R,) floating point. float64 is computed in float64, all other types in float32.
        labels: (R,) bool.
        real: (R,) bool, False for padding.

    Returns:
        The sum, and the number of real rows whose logit has the sign of the label; only the sum carries gradients.
    """
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    weights = real.to(wide.dtype)
    loss = functional.binary_cross_entropy_with_logits(wide, labels.to(wide.dtype), weights, reduction="sum")
    return RowSum(loss, (((logits > 0) == labels) & real).sum())
