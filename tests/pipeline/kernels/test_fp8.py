"""Laws of pipeline/kernels/fp8.py and its Triton kernel.

Triton's interpreter rounds to FP8 otherwise than a GPU does, and converts subnormal and infinite numbers wrongly.
Without a GPU the kernel is given other numbers, which need no rounding.
"""

import pytest
import torch
from torch.nn import functional

from pipeline.kernels import fp8
from pipeline.kernels.fp8 import BACKWARD, FORWARD, quantise
from pipeline.kernels.linear import Linear

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
ROUNDS = ["plain", "triton"] if DEVICE == "cuda" else ["plain"]
"""Ways of quantisation that round as a GPU does."""
TOKENS, INPUTS, OUTPUTS = 37, 48, 32
HALF_ULP = {FORWARD: 2.0**-4, BACKWARD: 2.0**-3}
"""Largest relative rounding error of a number that is not subnormal."""
HALF_LEAST = {FORWARD: 2.0**-10, BACKWARD: 2.0**-17}
"""Half of the smallest number, the largest rounding error of a subnormal one, in units of the scale."""


def drawn(*shape, seed=0, dtype=torch.float32):
    """Normal numbers with some that are a thousand times larger or smaller, as activations have."""
    generator = torch.Generator().manual_seed(seed)
    spread = 10.0 ** torch.randint(-3, 4, shape, generator=generator)
    common = torch.rand(shape, generator=generator) < 0.9
    return (torch.randn(shape, generator=generator) * torch.where(common, 1.0, spread)).to(DEVICE, dtype)


def rounding(x, dtype):
    """Bound on the rounding errors of a matrix that is quantised by rows, in float64."""
    return torch.maximum(x.double().abs() * HALF_ULP[dtype], quantise(x, dtype, "plain").scales * HALF_LEAST[dtype])


def bound_of_product(a, b, of_a, of_b):
    """Bound on the error of a b^T where the factors were rounded, with 1e-6 of the magnitudes for sums in fp32."""
    a_error, b_error = rounding(a, of_a), rounding(b, of_b)
    a, b = a.double().abs(), b.double().abs()
    return (a + a_error) @ (b + b_error).T - a @ b.T + 1e-6 * a @ b.T


@pytest.mark.parametrize("dtype", [FORWARD, BACKWARD])
@pytest.mark.parametrize("backend", ROUNDS)
def test_each_row_uses_the_range_of_the_format(dtype, backend):
    """Scales are powers of two, the largest number of a row is in the upper half of the range, errors are bounded."""
    x = drawn(TOKENS, INPUTS)
    values, scales = quantise(x, dtype, backend)
    largest = values.float().abs().amax(1)
    assert torch.equal(torch.frexp(scales).mantissa, torch.full_like(scales, 0.5))
    assert (largest >= torch.finfo(dtype).max / 2).all() and (largest <= torch.finfo(dtype).max).all()
    assert ((values.double() * scales - x.double()).abs() <= rounding(x, dtype)).all()


@pytest.mark.parametrize("dtype", [FORWARD, BACKWARD])
@pytest.mark.parametrize("width", [16, 48, 1024])
def test_triton_has_the_bits_of_plain_torch(dtype, width):
    """Values and scales are equal, also where the largest number is at the bound of two scales, and for zeros."""
    x = drawn(9, width)
    edge = torch.finfo(dtype).max * 2.0 ** torch.arange(-2, 1, device=DEVICE)
    x[5], x[6], x[:3, 0] = 0.0, x[6] * 1e-30, edge
    if DEVICE == "cpu":
        values, scales = quantise(x, dtype, "plain")
        x = values.float() * scales * (values.float().abs() >= torch.finfo(dtype).smallest_normal)
    plain, kernel = (quantise(x, dtype, backend) for backend in ("plain", "triton"))
    assert torch.equal(plain.scales, kernel.scales)
    assert torch.equal(plain.values.view(torch.uint8), kernel.values.view(torch.uint8))
    assert plain.values[5].float().abs().max() == 0
    x[:3, 0] = torch.nextafter(edge, torch.full_like(edge, torch.inf))
    x[3, 1] = torch.inf
    assert torch.equal(*(quantise(x, dtype, backend).scales for backend in ("plain", "triton")))


@pytest.mark.parametrize("backend", ROUNDS)
@pytest.mark.parametrize("wrong", [torch.inf, -torch.inf, torch.nan])
def test_numbers_that_are_not_finite_stay_so(backend, wrong):
    """A step with such an activation or gradient must be skipped, and not be trained on with the largest number."""
    x = drawn(3, INPUTS)
    x[1, 5] = wrong
    factors = quantise(x, FORWARD, backend), quantise(drawn(OUTPUTS, INPUTS, seed=1), FORWARD, backend)
    out = fp8.multiply(*factors, None, torch.float32, "emulated")
    assert not out[1].isfinite().any() and out[[0, 2]].isfinite().all()


def layer_of(weight, bias, way):
    """Return a linear layer with the given parameters."""
    layer = Linear(INPUTS, OUTPUTS, way).to(DEVICE, weight.dtype)
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer


def test_a_row_does_not_depend_on_the_others():
    """Output and gradient of a token are the same alone and beside tokens of any size (law 2)."""
    layer = layer_of(drawn(OUTPUTS, INPUTS, seed=1), drawn(OUTPUTS, seed=2), "emulated")
    results = []
    for rows in (slice(0, 5), slice(0, TOKENS)):
        x = drawn(TOKENS, INPUTS)
        x[5:] *= 1e4
        x = x[rows].requires_grad_()
        out, *_ = layer(x)
        (gradient,) = torch.autograd.grad(out, x, drawn(TOKENS, OUTPUTS, seed=3)[rows])
        results.append((out[:5].detach(), gradient[:5]))
    for alone, packed in zip(*results, strict=True):
        assert (alone - packed).abs().max() <= 1e-6 * packed.abs().max()


def test_products_differ_from_float64_by_the_rounding_of_their_factors():
    """The output and the gradient of the input are within the bound of the formats, the others equal float64."""
    x, weight, grad = drawn(TOKENS, INPUTS), drawn(OUTPUTS, INPUTS, seed=1), drawn(TOKENS, OUTPUTS)
    bias = drawn(OUTPUTS)
    layer = layer_of(weight, bias, "emulated")
    inputs = x.clone().requires_grad_()
    out, *_ = layer(inputs)
    out.backward(grad)
    errors = {
        "out": (out - (x.double() @ weight.double().T + bias), bound_of_product(x, weight, FORWARD, FORWARD)),
        "x": (inputs.grad - grad.double() @ weight.double(), bound_of_product(grad, weight.T, BACKWARD, FORWARD)),
    }
    for name, (error, bound) in errors.items():
        assert (error.abs() <= bound).all(), name
        assert error.abs().max() >= 0.01 * bound.max(), f"{name} is not rounded to FP8"
    assert (layer.weight.grad - grad.double().T @ x.double()).abs().max() <= 1e-5 * layer.weight.grad.abs().max()
    assert (layer.bias.grad - grad.double().sum(0)).abs().max() <= 1e-5 * layer.bias.grad.abs().max()


def test_under_autocast_results_are_16_bit():
    """The result has autocast's type, and gradients those of the parameters."""
    x, layer = drawn(TOKENS, INPUTS).requires_grad_(), Linear(INPUTS, OUTPUTS, "emulated").to(DEVICE)
    with torch.autocast(DEVICE, torch.bfloat16):
        out, *_ = layer(x)
    out.float().sum().backward()
    assert out.dtype == torch.bfloat16 and layer.weight.grad.dtype == x.grad.dtype == torch.float32
    assert (out - functional.linear(x, layer.weight, layer.bias)).abs().max() <= 0.1 * out.abs().max()


def test_native_products_need_their_hardware(monkeypatch):
    """Elsewhere the error names the field and the remedies; results other than bf16 are an error as well."""
    x, layer = drawn(TOKENS, INPUTS), Linear(INPUTS, OUTPUTS, "native").to(DEVICE)
    with pytest.raises(ValueError, match=r"^model.fp8 = native: (must run on a GPU|results must be bf16)"):
        layer(x)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    with pytest.raises(ValueError, match=r"^model.fp8 = native: must run on a GPU of compute capability 8.9"):
        fp8.check_native.__wrapped__(torch.device("cuda", 0), torch.bfloat16)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    fp8.check_native.__wrapped__(torch.device("cuda", 0), torch.bfloat16)
    with pytest.raises(ValueError, match=r"^model.fp8 = native: results must be bf16, not torch.float32"):
        fp8.check_native.__wrapped__(torch.device("cuda", 0), torch.float32)


@pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.get_device_capability() < fp8.LEAST_CAPABILITY,
    reason="requires a GPU with products in FP8",
)
def test_native_products_equal_the_emulation():
    """Output and gradient of the input differ by the order of sums and one rounding to bf16."""
    results = []
    for way in ("native", "emulated"):
        x, weight = drawn(TOKENS, INPUTS, dtype=torch.bfloat16), drawn(OUTPUTS, INPUTS, seed=1, dtype=torch.bfloat16)
        out, *_ = layer_of(weight, drawn(OUTPUTS, dtype=torch.bfloat16), way)(x.requires_grad_())
        results.append((out.detach(), *torch.autograd.grad(out, x, drawn(TOKENS, OUTPUTS, dtype=torch.bfloat16))))
    for native, emulated in zip(*results, strict=True):
        assert (native.double() - emulated.double()).abs().max() <= 2.0**-7 * emulated.abs().max()
