"""LAMB in C++ for the CPU; the source is `pipeline/kernels/native/lamb.cpp`."""

import ctypes
from typing import Any

import torch
from torch import Tensor

from pipeline.kernels.lamb.interface import Coefficients, Partition, State
from pipeline.kernels.native import library
from pipeline.kernels.native.library import pointers, sizes

CHUNK = 8192
"""Elements that a thread processes at a time: four arrays of 32 KiB, which fit into its L2 cache."""


class CpuKernel:
    """`LambKernel` in C++; model weights must be bf16."""

    def __init__(self) -> None:
        """Load the library, which is compiled if necessary.

        Raises:
            UnavailableError: it cannot be compiled.
        """
        self._library = library.load("lamb")

    def moments(self, state: State, partition: Partition, numbers: Coefficients) -> Tensor:
        """See `LambKernel`."""
        table, bounds = partition.chunks(CHUNK, 1, state.param.device)
        partials = torch.empty(len(table), 2, dtype=torch.float64)
        sums = torch.empty(partition.num_tensors, 2, dtype=torch.float64)
        self._library.lamb_moments(
            *_fp32(*state[:4]),
            *pointers(table, bounds),
            *sizes(len(table), partition.num_tensors),
            _floats(numbers),
            *pointers(partials, sums),
            _threads(table),
        )
        return sums

    def apply(self, state: State, partition: Partition, numbers: Coefficients, ratios: Tensor) -> None:
        """See `LambKernel`."""
        table, _ = partition.chunks(CHUNK, 1, state.param.device)
        self._library.lamb_apply(
            *_fp32(state.param, state.grad),
            _bf16(state.model),
            *pointers(table),
            *sizes(len(table)),
            _floats(numbers),
            *_fp32(ratios),
            _threads(table),
        )

    def adam(self, state: State, partition: Partition, numbers: Coefficients) -> None:
        """See `LambKernel`."""
        table, _ = partition.chunks(CHUNK, 1, state.param.device)
        self._library.lamb_adam(
            *_fp32(*state[:4]),
            _bf16(state.model),
            *pointers(table),
            *sizes(len(table)),
            _floats(numbers),
            _threads(table),
        )


def _threads(table: Tensor) -> int:
    """Threads for the chunks of a table; threads without a chunk would only wait for the others."""
    return max(1, min(torch.get_num_threads(), len(table)))


def _fp32(*tensors: Tensor | None) -> list[ctypes.c_void_p]:
    for tensor in tensors:
        assert tensor is not None and tensor.dtype == torch.float32 and tensor.is_contiguous(), "contiguous fp32"
    return pointers(*(tensor for tensor in tensors if tensor is not None))


def _bf16(model: Tensor | None) -> ctypes.c_void_p:
    assert model is None or (model.dtype == torch.bfloat16 and model.is_contiguous()), "contiguous bf16"
    return pointers(model)[0]


def _floats(numbers: Coefficients) -> Any:
    values = numbers.floats()  # in the order of `Numbers` in the C++ source
    return (ctypes.c_float * len(values))(*values)
