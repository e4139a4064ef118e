"""The LAMB kernels under test, and random states on which they run."""

import pytest
import torch

from pipeline.kernels.backends import UnavailableError
from pipeline.kernels.lamb.backends import make_kernel
from pipeline.kernels.lamb.interface import Coefficients, Partition, Piece, State

DEVICES = {"plain": "cpu", "cpu": "cpu", "cuda": "cuda" if torch.cuda.is_available() else "cpu", "apex": "cuda"}
# An unaligned start, a piece of one element, a tensor without pieces, one in two pieces, and more than one chunk.
PARTITION = Partition(
    [Piece(0, 3, 9003), Piece(1, 9004, 9005), Piece(3, 9008, 9500), Piece(3, 9501, 9507), Piece(4, 9508, 18000)], 6
)
LENGTH = 18_001
NUMBERS = Coefficients(lr=0.02, beta1=0.9, beta2=0.999, eps=1e-6, weight_decay=0.01, step=3)


def make(name):
    """Return the kernel, or skip the test with the reason why it cannot run."""
    if DEVICES[name] == "cuda" and not torch.cuda.is_available():
        pytest.skip(f"{name} needs a GPU")
    try:
        return make_kernel(name)
    except UnavailableError as error:
        pytest.skip(f"{name}: {error}")


def state(name, seed=0, model=None):
    """Return random weights, gradients and moments, with NaN outside of the pieces."""
    generator = torch.Generator().manual_seed(seed)
    param, grad, exp_avg = (torch.randn(LENGTH, generator=generator) for _ in range(3))
    tensors = [param, grad, exp_avg * 0.1, torch.rand(LENGTH, generator=generator) * 0.1]
    hole = torch.ones(LENGTH, dtype=torch.bool)
    for _, start, stop in PARTITION.pieces:
        hole[start:stop] = False
    for values in tensors:
        values[hole] = torch.nan
    tensors = [values.to(DEVICES[name]) for values in tensors]
    return State(*tensors, None if model is None else torch.zeros(LENGTH, dtype=model, device=DEVICES[name]))


def expected(numbers=NUMBERS, seed=0):
    """Return w, m, v, u and the sums of a step in float64, computed element by element and tensor by tensor."""
    w, g, m, v = (values.double() for values in state("plain", seed)[:4])
    m = numbers.beta1 * m + (1 - numbers.beta1) * g
    v = numbers.beta2 * v + (1 - numbers.beta2) * g * g
    corrected = (
        (1 - numbers.beta1**numbers.step, 1 - numbers.beta2**numbers.step) if numbers.bias_correction else (1, 1)
    )
    u = (m / corrected[0]) / ((v / corrected[1]).sqrt() + numbers.eps) + numbers.weight_decay * w
    sums = torch.zeros(PARTITION.num_tensors, 2, dtype=torch.float64)
    for tensor, start, stop in PARTITION.pieces:
        sums[tensor] += torch.stack([w[start:stop].square().sum(), u[start:stop].square().sum()])
    return w, m, v, u, sums
