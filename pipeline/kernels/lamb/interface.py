"""The interface of a LAMB kernel and the types of its arguments.

A flat partition holds fragments of many tensors, one after another, and padding between and behind them. The update of
one step (equations in `pipeline.optim.lamb`) needs the norms of whole tensors between its two halves:

    moments   reads w, g, m, v; writes m, v, and u in place of g; returns the sums of w^2 and u^2 over the elements of
              each tensor in the partition (the caller sums them over the ranks and computes the trust ratios)
    apply     reads w, u; writes w - lr * ratio * u and, if there are 16-bit model weights, the same rounded to 16 bits
    adam      does both in one pass, for tensors without a trust ratio

Memory traffic per element in bytes: moments reads 16 and writes 12, apply reads 8 and writes 4 (6 with a 16-bit model
weight), adam reads 16 and writes 12 (14). Computing u again in `apply` would cause the same traffic, but with 28 bytes
of reads instead of 24, and reads limit the speed of a CPU. The gradient is overwritten, as by apex.

Elements outside every fragment are neither read nor written. The result of an element depends on its own values and the
float64 sums only, so that the weights do not depend on the partition. No kernel adds with atomics: each chunk has its
own slot for its sums, and the slots of a tensor are added in a fixed order, so that runs are reproducible bit for bit.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor


class Coefficients(NamedTuple):
    """The hyper-parameters of one step, which are the same for all tensors of a group."""

    lr: float
    beta1: float
    beta2: float
    eps: float
    weight_decay: float
    step: int
    """Number of the step, t, counted from 1."""
    bias_correction: bool = True
    """Whether m and v are divided by 1 - beta^t."""
    grad_scale: float = 1.0
    """Factor that clips the gradient and removes the loss scale as `moments` and `adam` read it."""

    @property
    def scale1(self) -> float:
        """Factor of the first moment: 1 / (1 - beta1^t)."""
        return 1 / (1 - self.beta1**self.step) if self.bias_correction else 1.0

    @property
    def scale2(self) -> float:
        """Factor of the root of the second moment: 1 / sqrt(1 - beta2^t)."""
        return (1 - self.beta2**self.step) ** -0.5 if self.bias_correction else 1.0

    def floats(self) -> list[float]:
        """The values in the order that the C++ and Triton kernels expect; differences are computed here in float64."""
        betas = [self.beta1, 1 - self.beta1, self.beta2, 1 - self.beta2]
        return [self.lr, *betas, self.eps, self.weight_decay, self.scale1, self.scale2, self.grad_scale]


class Piece(NamedTuple):
    """`flat[start:stop]` belongs to tensor number `tensor`."""

    tensor: int
    start: int
    stop: int


@dataclass
class Partition:
    """The fragments of a flat buffer, in the order of their tensors."""

    pieces: list[Piece]
    num_tensors: int

    def __post_init__(self) -> None:
        order = [piece.tensor for piece in self.pieces]
        assert order == sorted(order), "pieces come in the order of their tensors"

    def chunks(self, size: int, align: int, device: torch.device) -> "Chunks":
        """The pieces, cut into the chunks that a kernel processes (see `cut`); computed once for given arguments."""
        key = (size, align, device)
        if key not in self._tables:
            self._tables[key] = cut(self.pieces, self.num_tensors, size, align, device)
        return self._tables[key]

    @cached_property
    def _tables(self) -> dict[tuple[int, int, torch.device], "Chunks"]:
        return {}


class Chunks(NamedTuple):
    """C chunks of the pieces of k tensors."""

    table: Tensor  # (C, 3) int64: start, stop, tensor
    bounds: Tensor  # (k + 1,) int64: the chunks of tensor i are bounds[i] to bounds[i + 1]


def cut(pieces: Iterable[Piece], num_tensors: int, size: int, align: int, device: torch.device) -> Chunks:
    """Cut pieces into chunks of at most `size` elements; a chunk of `size` elements starts at a multiple of `align`.

    A kernel can therefore read a chunk of full size in aligned vectors.

    Args:
        pieces: in the order of their tensors.
        num_tensors: k.
        size: elements, a multiple of `align`.
        align: elements.
        device: device of the result.
    """
    tables = []
    for tensor, start, stop in pieces:
        first = min(-(-start // align) * align, stop)  # where aligned chunks begin
        starts = np.concatenate([np.arange(start, first, max(first - start, 1)), np.arange(first, stop, size)])
        tables.append(np.stack([starts, np.append(starts[1:], stop), np.full_like(starts, tensor)], 1))
    table = np.concatenate(tables) if tables else np.zeros((0, 3), np.int64)
    bounds = np.searchsorted(table[:, 2], np.arange(num_tensors + 1))
    return Chunks(torch.from_numpy(table).to(device), torch.from_numpy(bounds).to(device))


class State(NamedTuple):
    """The tensors of a step, all of the same length n."""

    param: Tensor  # (n,) fp32 master weights
    grad: Tensor  # (n,) fp32, to be multiplied by `grad_scale`; `moments` replaces it by u
    exp_avg: Tensor  # (n,) fp32
    exp_avg_sq: Tensor  # (n,) fp32
    model: Tensor | None = None  # (n,) bf16 or fp16, written by apply and adam; None if the caller writes it


class LambKernel(Protocol):
    """An implementation of the update."""

    def moments(self, state: State, partition: Partition, numbers: Coefficients) -> Tensor:
        """Update the moments in place and replace the gradient by u.

        Returns:
            (k, 2) float64: the sums of w^2 and of u^2 over the elements of each tensor in the partition.
        """

    def apply(self, state: State, partition: Partition, numbers: Coefficients, ratios: Tensor) -> None:
        """Update the weights by w -= lr * ratio * u, after `moments` of the same step.

        Args:
            ratios: (k,) fp32 trust ratios.
        """

    def adam(self, state: State, partition: Partition, numbers: Coefficients) -> None:
        """Update the moments, and the weights without a trust ratio: w -= lr * u."""
