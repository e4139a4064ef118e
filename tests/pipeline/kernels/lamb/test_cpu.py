"""The C++ library is published completely or not at all."""

import os
import subprocess

import pytest
import torch

from pipeline.kernels.lamb import cpu
from pipeline.kernels.lamb.interface import UnavailableError


@pytest.fixture
def build_root(tmp_path, monkeypatch):
    """An empty directory for compiled libraries, with none of them loaded."""
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "extensions"))
    cpu.load_library.cache_clear()
    yield tmp_path / "extensions"
    cpu.load_library.cache_clear()


def test_a_library_appears_under_its_final_name_only_when_complete(build_root, monkeypatch):
    """The library is built in a temporary directory, which is removed, and then gets its final name."""

    def build(build_directory, **_):
        assert os.listdir(build_root) == [os.path.basename(build_directory)]
        path = os.path.join(build_directory, "lamb_cpu.so")
        with open(path, "wb") as file:
            file.write(b"no library")
        return path

    monkeypatch.setattr(cpu.cpp_extension, "load", build)
    with pytest.raises(UnavailableError, match="cannot be compiled"):  # it cannot be loaded
        cpu.load_library()
    (name,) = os.listdir(build_root)
    assert name.startswith("bert_pipeline_lamb_") and name.endswith(".so")


def test_a_failed_build_leaves_nothing(build_root, monkeypatch):
    """A failed build leaves no file, and its error has the compiler's first line."""

    def fail(**_):
        raise subprocess.CalledProcessError(1, ["c++"])

    monkeypatch.setattr(cpu.cpp_extension, "load", fail)
    with pytest.raises(UnavailableError, match=r"cannot be compiled \(Command .*returned non-zero exit status 1"):
        cpu.CpuKernel()
    assert os.listdir(build_root) == []


@pytest.mark.parametrize("tensor", [torch.zeros(2, dtype=torch.float64), torch.zeros(2, 2).t()[:1]])
def test_only_contiguous_fp32_reaches_the_library(tensor):
    """Tensors that are not contiguous fp32 are rejected, because the library receives addresses only."""
    with pytest.raises(AssertionError, match="contiguous fp32"):
        cpu._fp32(tensor)
