"""Laws of pipeline/kernels/linear.py. Its products in FP8 are tested in test_fp8.py."""

import pytest
import torch
from torch.nn import functional

from pipeline.kernels.linear import Linear
from pipeline.kernels.residual_norm import ResidualNorm

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TOKENS, WIDTH = 37, 48


def drawn(*shape, dtype=torch.float64, seed=1):
    """Normal numbers, rounded to bf16 so that they are equal in every type."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).bfloat16().to(DEVICE, dtype)


def sublayer(fused, dtype, dropout_p=0.0):
    """Return the output and all gradients of a linear layer and a normalised sum; separately, outputs are not used."""
    torch.manual_seed(0)
    layer, norm = Linear(WIDTH, WIDTH, backend="triton"), ResidualNorm(WIDTH, 1e-5, dropout_p, "triton")
    layer, norm = layer.to(DEVICE, dtype), norm.to(DEVICE, dtype)
    x, seed = drawn(TOKENS, WIDTH, dtype=dtype).requires_grad_(), torch.tensor(7, device=DEVICE)
    product, port, residual = layer(x)
    out = norm(product, residual, seed, port) if fused else norm(functional.linear(x, *layer.parameters()), x, seed)
    out.backward(drawn(TOKENS, WIDTH, dtype=out.dtype, seed=2))
    return [out.detach(), x.grad, *(parameter.grad for parameter in (*layer.parameters(), *norm.parameters()))]


def exact_sublayer():
    """Return the same in float64 by torch's operations, without dropout."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(WIDTH, WIDTH).to(DEVICE, torch.float64)
    norm = torch.nn.LayerNorm(WIDTH, 1e-5).to(DEVICE, torch.float64)
    x = drawn(TOKENS, WIDTH).requires_grad_()
    out = norm(x + layer(x))
    out.backward(drawn(TOKENS, WIDTH, seed=2))
    return [out.detach(), x.grad, *(parameter.grad for parameter in (*layer.parameters(), *norm.parameters()))]


def close(actual, expected, tolerance):
    for ours, theirs in zip(actual, expected, strict=True):
        assert (ours.double() - theirs.double()).abs().max() <= tolerance * theirs.abs().max()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_a_sublayer_equals_float64(dtype, tolerance):
    """With port and residual, output and gradients are those of separate operations, and have the types of theirs."""
    found = sublayer(True, dtype)
    assert all(tensor.dtype == dtype for tensor in found)
    close(found, exact_sublayer(), tolerance)


def test_dropout_leaves_the_sums_right():
    """The gradient of the bias is that of the rows behind the dropout; a run repeats bit for bit."""
    found, again = (sublayer(True, torch.float32, 0.3) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))
    close(found, sublayer(False, torch.float32, 0.3), 1e-5)


@pytest.mark.parametrize("used", ["product", "port", "residual"])
def test_an_output_that_is_not_used_changes_nothing(used):
    """Without the port the layer sums the rows itself, and without the residual its gradient is the product's alone."""
    layer = Linear(WIDTH, 8, backend="triton").to(DEVICE)
    x, grad = drawn(TOKENS, WIDTH, dtype=torch.float32).requires_grad_(), drawn(TOKENS, 8, dtype=torch.float32)
    product, port, residual = layer(x)
    outputs = {"product": [product], "port": [product, port], "residual": [product, residual]}[used]
    torch.autograd.backward(outputs, [grad, *(torch.ones_like(other) for other in outputs[1:])])
    expected = grad @ layer.weight + (1 if used == "residual" else 0)
    torch.testing.assert_close(x.grad, expected)
    torch.testing.assert_close(layer.weight.grad, grad.T @ x)
    torch.testing.assert_close(layer.bias.grad, torch.ones(8, device=DEVICE) if used == "port" else grad.sum(0))


def test_the_gradient_of_the_residual_is_added_in_place():
    """The memory of the residual's gradient becomes that of the gradient of x."""
    layer = Linear(WIDTH, 8, backend="triton").to(DEVICE)
    x = drawn(TOKENS, WIDTH, dtype=torch.float32).requires_grad_()
    product, _, residual = layer(x)
    other = torch.ones(TOKENS, WIDTH, device=DEVICE)
    (found,) = torch.autograd.grad([product, residual], x, [torch.ones_like(product), other])
    assert found.data_ptr() == other.data_ptr()


def test_under_autocast_gradients_of_two_types_are_added():
    """A 16-bit product and an fp32 residual give the gradients of separate operations, in the types of these."""
    found = []
    for fused in (False, True):
        with torch.autocast(DEVICE, torch.bfloat16):
            found.append(sublayer(fused, torch.float32))
    assert [tensor.dtype for tensor in found[1]] == [tensor.dtype for tensor in found[0]]
    close(found[1], found[0], 0.02)


def test_plain_torch_has_the_bits_of_a_linear_layer():
    """Without kernels there is no port, x is the residual, and output and gradients are those of `torch.nn.Linear`."""
    torch.manual_seed(0)
    ours, theirs = Linear(WIDTH, 8, backend="plain").to(DEVICE), torch.nn.Linear(WIDTH, 8).to(DEVICE)
    theirs.load_state_dict(ours.state_dict())
    gradients = []
    for layer in (ours, theirs):
        x = drawn(TOKENS, WIDTH, dtype=torch.float32).requires_grad_()
        product, port, residual = layer(x) if layer is ours else (layer(x), None, x)
        assert port is None and residual is x
        product.square().sum().backward()
        gradients.append([x.grad, layer.weight.grad, layer.bias.grad])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize(("fp8", "backend"), [("none", "plain"), ("none", "triton"), ("emulated", "plain")])
def test_without_a_bias_it_is_the_layer_with_a_bias_of_zeros(fp8, backend):
    """Product and gradients have the bits of a layer whose bias is zero, and there is no port."""
    bare = Linear(WIDTH, 8, fp8, backend, bias=False).to(DEVICE)
    full = Linear(WIDTH, 8, fp8, backend).to(DEVICE)
    full.load_state_dict({"weight": bare.weight.data, "bias": torch.zeros(8, device=DEVICE)})
    found = []
    for layer in (bare, full):
        x = drawn(TOKENS, WIDTH, dtype=torch.float32).requires_grad_()
        product, port, _ = layer(x)
        assert (port is None) or layer is full
        product.square().sum().backward()
        found.append([product, x.grad, layer.weight.grad])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_nothing_holds_the_memory_of_a_parameter():
    """The port has no memory of the bias and none of its own, and x and the weight alone are kept, so that ZeRO-3 can
    release what it gathered, and the backward pass needs no more memory than that of `torch.nn.Linear`.
    """
    layer, kept = Linear(WIDTH, 8, backend="triton").to(DEVICE), []
    x = drawn(TOKENS, WIDTH, dtype=torch.float32)
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        _, port, residual = layer(x)
    assert port.shape == layer.bias.shape and port.untyped_storage().nbytes() == port.itemsize
    assert residual.data_ptr() == x.data_ptr()
    assert [tensor.data_ptr() for tensor in kept] == [x.data_ptr(), layer.weight.data_ptr()]
