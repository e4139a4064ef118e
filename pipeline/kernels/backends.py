"""The one place that chooses between a layer's plain torch operations and its Triton kernels."""

import importlib
import logging
import os
from functools import cache
from types import ModuleType

import torch

from pipeline.kernels.config import KernelBackend as Backend
from pipeline.runtime import distributed


@cache
def load(name: str, backend: Backend, device_type: str) -> ModuleType | None:
    """The module of `pipeline.kernels.triton` that serves, or None where plain torch does.

    `auto` is Triton on CUDA and plain torch elsewhere. Where Triton is missing, that is said once and plain torch
    computes the same, slower; Triton that was asked for by name is an error instead.

    Args:
        name: a module of `pipeline.kernels.triton`.
        backend: what the configuration asks for.
        device_type: where the tensors are.

    Raises:
        ValueError: Triton was asked for by name and cannot run here.
    """
    if backend == "plain" or (backend == "auto" and device_type != "cuda"):
        return None
    # The interpreter, which the tests use, runs kernels on any device.
    if device_type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        raise ValueError(f"model.kernels = triton: runs on cuda, the tensors are on {device_type}; use auto")
    try:
        return importlib.import_module(f"pipeline.kernels.triton.{name}")
    except ImportError as error:
        if backend == "triton":
            raise ValueError(f"model.kernels = triton: Triton is not installed ({error}); use auto or plain") from None
        if distributed.is_main():
            logging.getLogger(__name__).warning(
                "Triton is not installed (%s); plain torch computes %s instead, slower", error, name
            )
        return None


def compute_dtype(x: torch.Tensor) -> torch.dtype:
    """The type a product of `x` is computed in: autocast's where it is on, else its own."""
    device = x.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):  # the meta device has none
        return torch.get_autocast_dtype(device)
    return x.dtype
