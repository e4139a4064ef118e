"""Choice of the LAMB kernel for a device."""

import importlib
import logging

import torch

from pipeline.kernels.backends import UnavailableError
from pipeline.kernels.config import LambBackend as Backend
from pipeline.kernels.lamb.interface import LambKernel
from pipeline.kernels.lamb.plain import PlainKernel
from pipeline.runtime import distributed

_CLASSES = {"plain": "PlainKernel", "cpu": "CpuKernel", "cuda": "CudaKernel", "apex": "ApexKernel"}


def choose(backend: Backend, device: torch.device, *, bias_correction: bool = True) -> LambKernel:
    """Choose a kernel for tensors on `device`.

    `auto` selects the fused kernel of the device. If that cannot run, `auto` warns and selects plain torch, which
    computes the same, more slowly; any other backend that cannot run is an error.

    Args:
        backend: `auto`, or the name of a module of this package.
        device: device of the partitions.
        bias_correction: whether the bias of the moments is corrected; apex always corrects it.

    Raises:
        ValueError: the backend does not support this device or setting, or cannot run here.
    """
    wanted = device.type if backend == "auto" and device.type in ("cpu", "cuda") else backend
    if wanted in ("auto", "plain"):
        return PlainKernel()
    required = "cpu" if wanted == "cpu" else "cuda"
    if device.type != required:
        raise ValueError(f"optimizer.backend = {backend}: runs on {required}, the weights are on {device}; use auto")
    if wanted == "apex" and not bias_correction:
        raise ValueError("optimizer.backend = apex: apex cannot disable bias correction; use auto")
    try:
        return make_kernel(wanted)
    except UnavailableError as error:
        if backend != "auto":
            raise ValueError(f"optimizer.backend = {backend}: {error}; use auto or plain") from None
        if distributed.is_main():
            logging.getLogger(__name__).warning(
                "the fused %s LAMB kernel %s; plain torch computes the update instead, several times slower",
                wanted,
                error,
            )
        return PlainKernel()


def make_kernel(backend: str) -> LambKernel:
    """The kernel of a module of this package, for any device.

    Raises:
        UnavailableError: a package or compiler that the kernel needs is not installed.
    """
    # Imported on demand: the CUDA modules need packages that a CPU machine does not have.
    module = importlib.import_module(f"pipeline.kernels.lamb.{backend}")
    kernel: LambKernel = getattr(module, _CLASSES[backend])()
    return kernel
