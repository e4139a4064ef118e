"""Choice between plain torch operations and their kernels: Triton on a GPU, C++ on a CPU."""

import importlib
import logging
import os
from functools import cache
from types import ModuleType

import torch

from pipeline.kernels.config import KernelBackend as Backend
from pipeline.runtime import distributed


class UnavailableError(RuntimeError):
    """A kernel cannot run here; the message names the missing requirement."""


@cache
def triton_kernels(name: str, backend: Backend, device_type: str, field: str = "model.kernels") -> ModuleType | None:
    """The module of `pipeline.kernels.triton` to use, or None for plain torch.

    `auto` selects Triton on CUDA and plain torch elsewhere. If Triton is not installed, `auto` warns once and selects
    plain torch, which computes the same, more slowly; `triton` is an error then.

    Args:
        name: a module of `pipeline.kernels.triton`.
        backend: the configured backend.
        device_type: type of the device of the tensors, such as "cuda".
        field: the field of the recipe that configures it, for messages.

    Raises:
        ValueError: the backend is `triton`, which cannot run here.
    """
    if backend == "plain" or (backend == "auto" and device_type != "cuda"):
        return None
    # The interpreter, which the tests use, runs kernels on any device.
    if device_type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        raise ValueError(f"{field} = triton: runs on cuda, the tensors are on {device_type}; use auto")
    try:
        return importlib.import_module(f"pipeline.kernels.triton.{name}")
    except ImportError as error:
        if backend == "triton":
            raise ValueError(f"{field} = triton: Triton is not installed ({error}); use auto or plain") from None
        if distributed.is_main():
            logging.getLogger(__name__).warning(
                "Triton is not installed (%s); plain torch computes %s instead, slower", error, name
            )
        return None


@cache
def native_kernels(name: str, backend: Backend, device_type: str) -> ModuleType | None:
    """The module of `pipeline.kernels.native` to use, or None for another implementation.

    `auto` selects C++ on a CPU. If it cannot be compiled, `auto` warns once and selects plain torch, which computes the
    same, more slowly.

    Args:
        name: a module of `pipeline.kernels.native`, with a source of the same name.
        backend: the configured backend.
        device_type: type of the device of the tensors, such as "cpu".
    """
    if backend != "auto" or device_type != "cpu":
        return None
    from pipeline.kernels.native import library  # imported on demand: it imports torch's compiler of extensions

    try:
        library.load(name)
    except UnavailableError as error:
        if distributed.is_main():
            logging.getLogger(__name__).warning(
                "the C++ kernel %s %s; plain torch computes the same instead, slower", name, error
            )
        return None
    return importlib.import_module(f"pipeline.kernels.native.{name}")


def compute_dtype(x: torch.Tensor) -> torch.dtype:
    """The type in which a product of `x` is computed: that of autocast where it is enabled, otherwise that of `x`."""
    device = x.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):  # unavailable on the meta device
        return torch.get_autocast_dtype(device)
    return x.dtype
