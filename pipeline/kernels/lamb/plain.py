"""The LAMB update in plain torch: the reference of the tests of the fused kernels, and the fallback of `auto`."""

import torch
from torch import Tensor

from pipeline.kernels.lamb.interface import Coefficients, Partition, State


def moments_(grad: Tensor, exp_avg: Tensor, exp_avg_sq: Tensor, numbers: Coefficients) -> None:
    """Compute m = beta1 m + (1 - beta1) g and v = beta2 v + (1 - beta2) g^2 in place, with g times `grad_scale`.

    All tensors are (n,).
    """
    grad = grad if numbers.grad_scale == 1 else grad * numbers.grad_scale
    exp_avg.mul_(numbers.beta1).add_(grad, alpha=1 - numbers.beta1)
    exp_avg_sq.mul_(numbers.beta2).addcmul_(grad, grad, value=1 - numbers.beta2)


def direction(param: Tensor, exp_avg: Tensor, exp_avg_sq: Tensor, numbers: Coefficients) -> Tensor:
    """The direction of the step before the trust ratio, u = m^ / (sqrt(v^) + eps) + lambda w; all tensors are (n,)."""
    denominator = exp_avg_sq.sqrt().mul_(numbers.scale2).add_(numbers.eps)
    return exp_avg.mul(numbers.scale1).div_(denominator).add_(param, alpha=numbers.weight_decay)


class PlainKernel:
    """`LambKernel` in torch, which processes one fragment after another."""

    def moments(self, state: State, partition: Partition, numbers: Coefficients) -> Tensor:
        """See `LambKernel`."""
        sums = torch.zeros(partition.num_tensors, 2, dtype=torch.float64, device=state.param.device)
        for tensor, start, stop in partition.pieces:
            param, grad, exp_avg, exp_avg_sq = (values[start:stop] for values in state[:4])
            moments_(grad, exp_avg, exp_avg_sq, numbers)
            grad.copy_(direction(param, exp_avg, exp_avg_sq, numbers))
            for column, values in enumerate((param, grad)):
                sums[tensor, column] += torch.linalg.vector_norm(values, dtype=torch.float64).square()
        return sums

    def apply(self, state: State, partition: Partition, numbers: Coefficients, ratios: Tensor) -> None:
        """See `LambKernel`."""
        for tensor, start, stop in partition.pieces:
            param, update = state.param[start:stop], state.grad[start:stop]
            param.sub_(update * (ratios[tensor] * numbers.lr))
            if state.model is not None:
                state.model[start:stop].copy_(param)

    def adam(self, state: State, partition: Partition, numbers: Coefficients) -> None:
        """See `LambKernel`."""
        for _, start, stop in partition.pieces:
            param, grad, exp_avg, exp_avg_sq = (values[start:stop] for values in state[:4])
            moments_(grad, exp_avg, exp_avg_sq, numbers)
            param.sub_(direction(param, exp_avg, exp_avg_sq, numbers), alpha=numbers.lr)
            if state.model is not None:
                state.model[start:stop].copy_(param)
