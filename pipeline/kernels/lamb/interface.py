"""The interface of a LAMB kernel and the types of its arguments.

A flat partition holds fragments of many tensors, one after another, and padding between and behind them. The update of
one step (equations in `pipeline.optim.lamb`) needs the norms of whole tensors between its two halves:

    moments   reads w, g, m, v; writes m, v, and u over g; returns the sums of w^2 and u^2 over each tensor's elements
              here (the caller adds them up over the ranks and makes trust ratios of them)
    apply     reads w, u; writes w - lr * ratio * u, and the same rounded to the model's precision if asked to
    adam      both in one pass, for tensors that take no ratio

Bytes moved per element: moments 16 read + 12 written, apply 8 read + 4 written (+ 2 for a 16-bit model weight), adam 16
read + 12 written (+ 2). To compute u again in `apply` would move as many, but read 28 of them instead of 24, and it is
the reads that a CPU waits for. The gradient is spent, as with apex.

Elements that lie in no fragment are neither read nor written. Each element's result depends on its own values alone,
and the sums are float64, so a partition cut elsewhere gives the same weights. No kernel adds with atomics: each chunk
has its own slot for its sums, and the slots of a tensor are added in order, so a run repeats bit for bit."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor


class Coefficients(NamedTuple):
    """The numbers of one step, equal for all tensors of a group."""

    lr: float
    beta1: float
    beta2: float
    eps: float
    weight_decay: float
    step: int
    """t, counted from 1."""
    bias_correction: bool = True
    """Whether m and v are divided by 1 - beta^t."""

    @property
    def scale1(self) -> float:
        """Factor of the first moment: 1 / (1 - beta1^t)."""
        return 1 / (1 - self.beta1**self.step) if self.bias_correction else 1.0

    @property
    def scale2(self) -> float:
        """Factor of the root of the second moment: 1 / sqrt(1 - beta2^t)."""
        return (1 - self.beta2**self.step) ** -0.5 if self.bias_correction else 1.0

    def floats(self) -> list[float]:
        """The numbers in the order of the C++ and Triton kernels; differences are computed here, in float64."""
        betas = [self.beta1, 1 - self.beta1, self.beta2, 1 - self.beta2]
        return [self.lr, *betas, self.eps, self.weight_decay, self.scale1, self.scale2]


class Piece(NamedTuple):
    """`flat[start:stop]` belongs to tensor number `tensor`."""

    tensor: int
    start: int
    stop: int


@dataclass
class Partition:
    """The fragments of a flat buffer in the order of their tensors, and the tensor of each."""

    pieces: list[Piece]
    num_tensors: int

    def __post_init__(self) -> None:
        order = [piece.tensor for piece in self.pieces]
        assert order == sorted(order), "pieces come in the order of their tensors"

    def chunks(self, size: int, align: int, device: torch.device) -> "Chunks":
        """The table of chunks that a kernel processes, made once."""
        key = (size, align, device)
        if key not in self._tables:
            self._tables[key] = cut(self.pieces, self.num_tensors, size, align, device)
        return self._tables[key]

    @cached_property
    def _tables(self) -> dict[tuple[int, int, torch.device], "Chunks"]:
        return {}


class Chunks(NamedTuple):
    """Pieces cut to at most `size` elements; C chunks of k tensors."""

    table: Tensor  # (C, 3) int64: start, stop, tensor
    bounds: Tensor  # (k + 1,) int64: the chunks of tensor i are bounds[i] to bounds[i + 1]


def cut(pieces: Iterable[Piece], num_tensors: int, size: int, align: int, device: torch.device) -> Chunks:
    """Cut pieces into chunks of at most `size` elements; only a chunk that starts at a multiple of `align` has `size`.

    A chunk of full size can thus be read in whole, aligned vectors; `size` is a multiple of `align`.
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
    """The tensors of a step, all of one length n."""

    param: Tensor  # (n,) fp32 master weights
    grad: Tensor  # (n,) fp32, clipped; `moments` leaves u in it
    exp_avg: Tensor  # (n,) fp32
    exp_avg_sq: Tensor  # (n,) fp32
    model: Tensor | None = None  # (n,) bf16 or fp16, written by apply and adam; None where another writes it


class LambKernel(Protocol):
    """An implementation of the update."""

    def moments(self, state: State, partition: Partition, numbers: Coefficients) -> Tensor:
        """Update the moments in place and put u where the gradient was.

        Returns:
            (k, 2) float64: sums of w^2 and of u^2 of each tensor's elements in the partition.
        """

    def apply(self, state: State, partition: Partition, numbers: Coefficients, ratios: Tensor) -> None:
        """w -= lr * ratio * u, after `moments` of the same step.

        Args:
            ratios: (k,) fp32 trust ratios.
        """

    def adam(self, state: State, partition: Partition, numbers: Coefficients) -> None:
        """Update the moments and the weights without a ratio: w -= lr * u."""


class UnavailableError(RuntimeError):
    """A kernel cannot run here; the message names the missing requirement."""
