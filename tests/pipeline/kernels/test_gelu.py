"""Laws of pipeline/kernels/gelu.py and its Triton kernel."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from pipeline.kernels import gelu
from pipeline.kernels.gelu import GeluLinear
from pipeline.kernels.linear import Linear
from pipeline.kernels.triton import gelu as kernel

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
WIDTH, INTERMEDIATE = 12, 200
WAYS = [("plain", True), ("triton", False), ("triton", True)]


def pass_inputs(shape, dtype):
    generator = torch.Generator().manual_seed(0)
    drawn = [2 * torch.randn(shape, generator=generator) for _ in range(2)]
    return [values.bfloat16().to(DEVICE, dtype) for values in drawn]


def close(actual, expected, tolerance):
    for ours, theirs in zip(actual, expected, strict=True):
        assert (ours.double() - theirs.double()).abs().max() <= tolerance * theirs.abs().max()


@pytest.mark.parametrize("shape", [(1, 5), (37, 200), (9, 1024), (4, 1500)])
@pytest.mark.parametrize("approximate", ["none", "tanh"])
@pytest.mark.parametrize("backward_", [gelu.backward_, kernel.backward_])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 0.01)])
def test_the_pass_equals_float64(shape, approximate, backward_, dtype, tolerance):
    """The output of GELU, the gradient of its input, and the sums of that gradient over the rows equal float64."""
    (grad, x), (exact_grad, exact_x) = pass_inputs(shape, dtype), pass_inputs(shape, torch.float64)
    exact_x.requires_grad_()
    expected = functional.gelu(exact_x, approximate=approximate)
    expected.backward(exact_grad)
    out, sums = backward_(grad, x, approximate, True)
    close([out, grad], [expected.detach(), exact_x.grad], tolerance)
    # Rounded gradients are added up; rounding errors do not cancel as the gradients may.
    assert (sums.double() - exact_x.grad.sum(0)).abs().max() <= tolerance * exact_x.grad.abs().sum(0).max()
    assert backward_(*pass_inputs(shape, dtype), approximate, False)[0] is None


def test_far_from_zero():
    """For large inputs GELU is 0 or the identity, without overflow."""
    for approximate in ("none", "tanh"):
        x = torch.tensor([[-1e4, -50.0, 0.0, 50.0, 1e4]], device=DEVICE)
        grad = torch.ones_like(x)
        out, _ = kernel.backward_(grad, x, approximate, True)
        assert out.tolist() == [[0.0, 0.0, 0.0, 50.0, 1e4]]
        assert grad.tolist() == [[0.0, 0.0, 0.5, 1.0, 1.0]]


def test_more_rows_than_programs(monkeypatch):
    """A program that takes several groups of rows adds up all of them, and a run repeats bit for bit."""
    monkeypatch.setattr(kernel, "PROGRAMS", 3)
    monkeypatch.setattr(kernel, "TILE", 512)
    sums = [kernel.backward_(*pass_inputs((37, 200), torch.float32), "none", False)[1] for _ in range(2)]
    grad, x = pass_inputs((37, 200), torch.float64)
    close(sums[:1], [gelu.backward_(grad, x, "none", False)[1]], 1e-6)
    assert torch.equal(*sums)


def network(backend, recompute, approximate="none"):
    """Return the two layers of a feed-forward network."""
    first = Linear(WIDTH, INTERMEDIATE, backend=backend, ported=recompute)
    return first.to(DEVICE), GeluLinear(INTERMEDIATE, WIDTH, approximate, recompute, backend=backend).to(DEVICE)


def applied(first, second, x):
    """Return the output of the network."""
    inner, port, _ = first(x)
    return second(inner, port)[0]


def results(backend, recompute, approximate="none", dtype=torch.float64):
    """Return the output and all gradients of a feed-forward network."""
    torch.manual_seed(0)
    first, second = (layer.to(dtype) for layer in network(backend, recompute, approximate))
    x = torch.randn(37, WIDTH).to(DEVICE, dtype).requires_grad_()
    out = applied(first, second, x)
    (out * torch.linspace(0.5, 1.5, out.numel(), dtype=torch.float64, device=DEVICE).view_as(out)).sum().backward()
    return [out.detach(), *(tensor.grad for tensor in (x, *first.parameters(), *second.parameters()))]


@pytest.mark.parametrize(("backend", "recompute"), WAYS)
@pytest.mark.parametrize("approximate", ["none", "tanh"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_the_network_equals_separate_operations(backend, recompute, approximate, dtype, tolerance):
    """Output and gradients of both products' parameters and of the input equal separate operations in float64."""
    close(results(backend, recompute, approximate, dtype), results("plain", False, approximate), tolerance)


def test_plain_torch_is_three_operations():
    """Without fusion and recomputation, the result has the bits of linear, GELU, linear."""
    torch.manual_seed(0)
    first, second = network("plain", False)
    x = torch.randn(37, WIDTH, device=DEVICE)
    assert first(x)[1] is None
    expected = functional.linear(functional.gelu(nn.Linear.forward(first, x)), second.weight, second.bias)
    assert torch.equal(applied(first, second, x), expected)


def test_recomputation_keeps_the_input_only():
    """With recomputation, x, both weights and one tensor (T, I) are kept for the backward pass; without it, two of (T,
    I).
    """
    for recompute, copies in ((True, 1), (False, 2)):
        first, second = network("triton", recompute)
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):  # noqa: B023
            applied(first, second, torch.randn(37, WIDTH, device=DEVICE))
        assert sum(tensor.shape == (37, INTERMEDIATE) for tensor in kept) == copies
        # Nothing may hold a parameter's memory but the parameter itself: ZeRO 3 takes it away in between.
        parameters = {id(p) for p in (*first.parameters(), *second.parameters())}
        owned = {p.untyped_storage().data_ptr() for p in (*first.parameters(), *second.parameters())}
        assert all(id(t) in parameters for t in kept if t.untyped_storage().data_ptr() in owned)


@pytest.mark.parametrize(("backend", "recompute"), WAYS)
def test_under_autocast_products_are_16_bit(backend, recompute):
    """Types and values are those of plain torch under autocast."""
    found = []
    for way in (("plain", False), (backend, recompute)):
        with torch.autocast(DEVICE, torch.bfloat16):
            torch.manual_seed(0)
            first, second = network(*way)
            x = torch.randn(37, WIDTH).to(DEVICE).requires_grad_()
            out = applied(first, second, x)
        out.float().square().sum().backward()
        found.append([out.detach(), x.grad, *(p.grad for p in (*first.parameters(), *second.parameters()))])
    for plain, ours in zip(*found, strict=True):
        assert plain.dtype == ours.dtype
        close([ours], [plain], 0.02)
