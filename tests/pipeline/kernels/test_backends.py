"""`auto` is plain torch on a CPU and Triton on CUDA, and a backend that cannot run is an error."""

import logging
import sys

import pytest

from pipeline.kernels.backends import triton_kernels

NAMES = ["residual_norm", "gelu", "cross_entropy"]


@pytest.fixture(autouse=True)
def forget():
    """Clear the cached choices before each test."""
    triton_kernels.cache_clear()
    yield
    triton_kernels.cache_clear()


@pytest.mark.parametrize("name", NAMES)
def test_auto_is_triton_on_cuda_only(name):
    """`auto` selects Triton on CUDA and plain torch elsewhere, and `plain` selects plain torch on every device."""
    assert triton_kernels(name, "auto", "cuda").__name__ == f"pipeline.kernels.triton.{name}"
    assert triton_kernels(name, "auto", "cpu") is triton_kernels(name, "plain", "cuda") is None


def test_triton_on_a_cpu_is_refused_outside_the_interpreter(monkeypatch):
    """The error for `triton` on a CPU names the field and the device."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(ValueError, match=r"model.kernels = triton: runs on cuda, the tensors are on cpu; use auto"):
        triton_kernels("gelu", "triton", "cpu")


def test_without_triton_auto_says_so_once(monkeypatch, caplog):
    """Without Triton, `auto` uses plain torch and says so once, and `triton` is an error."""
    monkeypatch.setitem(sys.modules, "pipeline.kernels.triton.gelu", None)
    with caplog.at_level(logging.WARNING):
        assert triton_kernels("gelu", "auto", "cuda") is triton_kernels("gelu", "auto", "cuda") is None
    assert len(caplog.records) == 1 and "plain torch computes gelu instead" in caplog.text
    with pytest.raises(ValueError, match=r"model.kernels = triton: Triton is not installed .*; use auto or plain"):
        triton_kernels("gelu", "triton", "cuda")
