"""`auto` selects the fused kernel of the device, and a backend that cannot run is an error."""

import logging

import pytest
import torch

from pipeline.kernels.backends import UnavailableError
from pipeline.kernels.lamb import backends
from pipeline.kernels.lamb.backends import choose
from pipeline.kernels.lamb.cpu import CpuKernel
from pipeline.kernels.lamb.plain import PlainKernel

CPU = torch.device("cpu")


def test_auto_takes_the_fused_kernel():
    """`auto` selects the C++ kernel on a CPU."""
    assert isinstance(choose("auto", CPU), CpuKernel)
    assert isinstance(choose("plain", CPU), PlainKernel)


def test_without_a_compiler_auto_says_so_and_goes_on(monkeypatch, caplog):
    """Without a compiler, `auto` says so and uses plain torch, which computes the same; a backend given by name is an
    error.
    """

    def fail(name):
        raise UnavailableError("cannot be compiled (no g++)")

    monkeypatch.setattr(backends, "make_kernel", fail)
    with caplog.at_level(logging.WARNING):
        assert isinstance(choose("auto", CPU), PlainKernel)
    assert "cannot be compiled (no g++); plain torch computes the update instead" in caplog.text
    with pytest.raises(ValueError, match=r"optimizer.backend = cpu: cannot be compiled .*; use auto or plain"):
        choose("cpu", CPU)


@pytest.mark.parametrize("backend", ["cuda", "apex"])
def test_wrong_device_is_refused(backend):
    """A GPU kernel on CPU tensors is an error that names both."""
    with pytest.raises(ValueError, match=f"optimizer.backend = {backend}: runs on cuda, the weights are on cpu"):
        choose(backend, CPU)


def test_apex_without_bias_correction_is_refused():
    """apex without bias correction is an error, since its first stage always corrects."""
    with pytest.raises(ValueError, match="apex cannot disable bias correction"):
        choose("apex", torch.device("cuda"), bias_correction=False)
