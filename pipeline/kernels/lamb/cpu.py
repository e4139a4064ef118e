"""LAMB in C++ for the CPU, compiled in a second at its first use and stored in torch's extension cache.

The source includes no header of torch, so that only a C++ compiler with OpenMP is required. Each process builds the
library in a directory of its own and renames it to its final path. Ranks that start together therefore do not wait for
each other, and a rank that is killed while it compiles leaves no lock file for which others would wait, as torch's
own build does."""

import ctypes
import hashlib
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils import cpp_extension

from pipeline.kernels.lamb.interface import Coefficients, Partition, State, UnavailableError

SOURCE = Path(__file__).with_suffix(".cpp")
FLAGS = ["-O3", "-fopenmp", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
CHUNK = 8192
"""Elements that a thread processes at a time: four arrays of 32 KiB, which fit into its L2 cache."""


class CpuKernel:
    """`LambKernel` in C++; model weights must be bf16."""

    def __init__(self) -> None:
        """Load the library, which is compiled if necessary.

        Raises:
            UnavailableError: it cannot be compiled.
        """
        self._library = load_library()

    def moments(self, state: State, partition: Partition, numbers: Coefficients) -> Tensor:
        """See `LambKernel`."""
        table, bounds = partition.chunks(CHUNK, 1, state.param.device)
        partials = torch.empty(len(table), 2, dtype=torch.float64)
        sums = torch.empty(partition.num_tensors, 2, dtype=torch.float64)
        self._library.lamb_moments(
            *_fp32(*state[:4]),
            *_pointers(table, bounds),
            *_sizes(len(table), partition.num_tensors),
            _floats(numbers),
            *_pointers(partials, sums),
            _threads(table),
        )
        return sums

    def apply(self, state: State, partition: Partition, numbers: Coefficients, ratios: Tensor) -> None:
        """See `LambKernel`."""
        table, _ = partition.chunks(CHUNK, 1, state.param.device)
        self._library.lamb_apply(
            *_fp32(state.param, state.grad),
            _bf16(state.model),
            *_pointers(table),
            *_sizes(len(table)),
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
            *_pointers(table),
            *_sizes(len(table)),
            _floats(numbers),
            _threads(table),
        )


def _threads(table: Tensor) -> int:
    """Threads for the chunks of a table; threads without a chunk would only wait for the others."""
    return max(1, min(torch.get_num_threads(), len(table)))


def _pointers(*tensors: Tensor) -> list[ctypes.c_void_p]:
    return [ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors]


def _fp32(*tensors: Tensor | None) -> list[ctypes.c_void_p]:
    for tensor in tensors:
        assert tensor is not None and tensor.dtype == torch.float32 and tensor.is_contiguous(), "contiguous fp32"
    return _pointers(*(tensor for tensor in tensors if tensor is not None))


def _bf16(model: Tensor | None) -> ctypes.c_void_p:
    if model is None:
        return ctypes.c_void_p(None)
    assert model.dtype == torch.bfloat16 and model.is_contiguous(), "contiguous bf16"
    return ctypes.c_void_p(model.data_ptr())


def _floats(numbers: Coefficients) -> Any:
    values = numbers.floats()  # in the order of `Numbers` in the C++ source
    return (ctypes.c_float * len(values))(*values)


def _sizes(*sizes: int) -> list[ctypes.c_int64]:
    return [ctypes.c_int64(size) for size in sizes]


@cache
def load_library() -> ctypes.CDLL:
    """Load the library of the kernel, and compile it first if it is not in the cache.

    Raises:
        UnavailableError: there is no compiler, or the cache cannot be written.
    """
    key = hashlib.sha256(SOURCE.read_bytes() + " ".join(FLAGS).encode() + torch.__version__.encode()).hexdigest()[:16]
    root = Path(os.environ.get("TORCH_EXTENSIONS_DIR") or cpp_extension.get_default_build_root())
    library = root / f"bert_pipeline_lamb_{key}.so"
    try:
        if not library.is_file():
            _build(library)
        return ctypes.CDLL(str(library))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        raise UnavailableError(f"cannot be compiled ({_first_line(error)})") from None


def _build(library: Path) -> None:
    library.parent.mkdir(parents=True, exist_ok=True)
    scripts = str(Path(sys.executable).parent)  # contains ninja, also when the environment is not activated
    if scripts not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), scripts])
    with tempfile.TemporaryDirectory(dir=library.parent) as directory:
        built = cpp_extension.load(
            name="lamb_cpu",
            sources=[str(SOURCE)],
            extra_cflags=FLAGS,
            extra_ldflags=["-fopenmp"],
            build_directory=directory,
            with_cuda=False,
            is_python_module=False,
        )
        os.replace(built, library)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
