"""Libraries of C++ kernels, compiled in a second at their first use and stored in torch's extension cache.

A source includes no header of torch, so that only a C++ compiler with OpenMP is required. Each process builds a library
in a directory of its own and renames it to its final path. Ranks that start together therefore do not wait for each
other, and a rank that is killed while it compiles leaves no lock file, unlike torch's own build, for whose lock the
other ranks would wait.
"""

import ctypes
import hashlib
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.utils import cpp_extension

from pipeline.kernels.backends import UnavailableError

FOLDER = Path(__file__).parent
HEADER = FOLDER / "common.h"
FLAGS = ["-O3", "-fopenmp", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]


@cache
def load(name: str) -> ctypes.CDLL:
    """Load the library of the source `name`.cpp of this package, and compile it first if it is not in the cache.

    Raises:
        UnavailableError: there is no compiler, or the cache cannot be written.
    """
    source = FOLDER / f"{name}.cpp"
    parts = [source.read_bytes(), HEADER.read_bytes(), " ".join(FLAGS).encode(), torch.__version__.encode()]
    key = hashlib.sha256(b"".join(parts)).hexdigest()[:16]
    root = Path(os.environ.get("TORCH_EXTENSIONS_DIR") or cpp_extension.get_default_build_root())
    library = root / f"bert_pipeline_{name}_{key}.so"
    try:
        if not library.is_file():
            _build(source, library)
        return ctypes.CDLL(str(library))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        raise UnavailableError(f"cannot be compiled ({_first_line(error)})") from None


def pointers(*tensors: Tensor | None) -> list[ctypes.c_void_p]:
    """Addresses of the tensors' first elements; null for None."""
    return [ctypes.c_void_p(None if tensor is None else tensor.data_ptr()) for tensor in tensors]


def sizes(*values: int) -> list[ctypes.c_int64]:
    """Numbers of type int64."""
    return [ctypes.c_int64(value) for value in values]


def _build(source: Path, library: Path) -> None:
    library.parent.mkdir(parents=True, exist_ok=True)
    scripts = str(Path(sys.executable).parent)  # contains ninja, also when the environment is not activated
    if scripts not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), scripts])
    with tempfile.TemporaryDirectory(dir=library.parent) as directory:
        built = cpp_extension.load(
            name=f"native_{source.stem}",
            sources=[str(source)],
            extra_cflags=FLAGS,
            extra_ldflags=["-fopenmp"],
            build_directory=directory,
            with_cuda=False,
            is_python_module=False,
        )
        os.replace(built, library)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
