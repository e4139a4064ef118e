"""LAMB by the multi-tensor kernels of NVIDIA apex, where it is installed (from source; `apex` on PyPI is unrelated).

Its norms need a separate pass of 8 bytes per element and are float32 sums, so that different partitions agree only up
to rounding. The calls follow csrc/multi_tensor_lamb_stage_1.cu, multi_tensor_lamb_stage_2.cu and
multi_tensor_l2norm_kernel.cu of NVIDIA/apex.
"""

import torch
from torch import Tensor

from pipeline.kernels.backends import UnavailableError
from pipeline.kernels.lamb.interface import Coefficients, Partition, State

try:
    import amp_C
except ImportError:
    raise UnavailableError(
        "NVIDIA apex is not installed with its CUDA extensions (github.com/NVIDIA/apex, built with APEX_CUDA_EXT=1)"
    ) from None

CHUNK = 65536
"""Elements of a block, the value that the optimizers of apex use."""


class ApexKernel:
    """`LambKernel` with the multi-tensor functions of apex."""

    def moments(self, state: State, partition: Partition, numbers: Coefficients) -> Tensor:
        """See `LambKernel`."""
        sums = torch.zeros(partition.num_tensors, 2, dtype=torch.float64, device=state.param.device)
        if not partition.pieces:
            return sums
        self._stage1(state, partition, numbers)
        tensors = torch.tensor([piece.tensor for piece in partition.pieces], device=sums.device)
        for column, flat in enumerate((state.param, state.grad)):
            _, norms = amp_C.multi_tensor_l2norm(CHUNK, self._noop(sums.device), [_views(flat, partition)], True)
            sums[:, column].index_add_(0, tensors, norms.double().square())
        return sums

    def apply(self, state: State, partition: Partition, numbers: Coefficients, ratios: Tensor) -> None:
        """See `LambKernel`."""
        if partition.pieces:
            tensors = torch.tensor([piece.tensor for piece in partition.pieces], device=ratios.device)
            self._stage2(state, partition, numbers, ratios[tensors])

    def adam(self, state: State, partition: Partition, numbers: Coefficients) -> None:
        """See `LambKernel`."""
        if partition.pieces:
            self._stage1(state, partition, numbers)
            self._stage2(state, partition, numbers, torch.ones(len(partition.pieces), device=state.param.device))

    def _stage1(self, state: State, partition: Partition, numbers: Coefficients) -> None:
        assert numbers.bias_correction, "apex always corrects the bias; `choose` rejects other settings"
        param, grad, exp_avg, exp_avg_sq = (_views(flat, partition) for flat in state[:4])
        decay = torch.full((len(param),), numbers.weight_decay, device=state.param.device)
        amp_C.multi_tensor_lamb_stage1_cuda(
            CHUNK,
            self._noop(state.param.device),
            [grad, param, exp_avg, exp_avg_sq, grad],
            decay,
            numbers.step - 1,  # apex adds 1
            numbers.beta1,
            numbers.beta2,
            numbers.eps,
            torch.tensor([1 / numbers.grad_scale]),  # in host memory; apex divides by it where it is above the limit
            1.0,
        )

    def _stage2(self, state: State, partition: Partition, numbers: Coefficients, ratios: Tensor) -> None:
        # apex divides the first norm by the second if neither is zero, which holds for ratios and ones.
        lists = [_views(state.param, partition), _views(state.grad, partition)]
        ones = torch.ones_like(ratios)
        amp_C.multi_tensor_lamb_stage2_cuda(
            CHUNK, self._noop(ratios.device), lists, ratios, ones, numbers.lr, numbers.weight_decay, True
        )
        if state.model is not None:
            for source, target in zip(lists[0], _views(state.model, partition), strict=True):
                target.copy_(source)

    def _noop(self, device: torch.device) -> Tensor:
        return torch.zeros(1, dtype=torch.int32, device=device)


def _views(flat: Tensor, partition: Partition) -> list[Tensor]:
    return [flat[start:stop] for _, start, stop in partition.pieces]
