"""Gradients that are sums over the rows of a micro-batch are exact."""

import pytest
import torch

from pipeline.kernels.rows import Embedding, LayerNorm, embedding, layer_norm

ROWS, WIDTH = 8192, 64
ROUNDING = {torch.bfloat16: 2**-8, torch.float16: 2**-11, torch.float32: 2**-18}


def drawn(dtype, seed=0):
    return (torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(seed)) + 0.5).to(dtype)


def error(found, exact):
    return ((found.double() - exact).norm() / exact.norm()).item()


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("table", [2, 512])
def test_embeddings_gradient_is_the_exact_sum(dtype, table):
    """The gradient of 8,192 tokens on two segments, where torch's bf16 sum is 75 % off, is rounded only once."""
    module, grad = Embedding(table, WIDTH).to(dtype), drawn(dtype)
    ids = torch.randint(0, table, (ROWS,), generator=torch.Generator().manual_seed(1))
    out = module(ids)
    assert torch.equal(out, torch.nn.functional.embedding(ids, module.weight))
    out.backward(grad)
    exact = torch.zeros(table, WIDTH, dtype=torch.float64).index_add_(0, ids, grad.double())
    assert module.weight.grad.dtype == dtype
    assert error(module.weight.grad, exact) < ROUNDING[dtype]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", ROUNDING)
def test_layer_norms_gradients_are_exact_sums(dtype, bias):
    """Gradients of weight and bias are exact sums; output and the input's gradient are those of torch."""
    module = LayerNorm(WIDTH, 1e-12, bias=bias).to(dtype)
    torch.nn.init.normal_(module.weight)
    x, grad = drawn(dtype).requires_grad_(), drawn(dtype, 1)
    out = module(x)
    out.backward(grad)
    exact = x.detach().double().requires_grad_()
    wide = LayerNorm(WIDTH, 1e-12, bias=bias).double()
    wide.load_state_dict(module.state_dict())
    wide(exact).backward(grad.double())
    assert error(module.weight.grad, wide.weight.grad) < ROUNDING[dtype]
    assert not bias or error(module.bias.grad, wide.bias.grad) < ROUNDING[dtype]
    again = x.detach().clone().requires_grad_()
    torchs = torch.nn.functional.layer_norm(again, (WIDTH,), module.weight, module.bias, 1e-12)
    torchs.backward(grad)
    assert torch.equal(out, torchs) and torch.equal(x.grad, again.grad)


def test_nothing_more_is_kept_for_the_backward_pass():
    """The operations save as many bytes for the backward pass as those of torch."""
    x, table = drawn(torch.bfloat16).requires_grad_(), torch.zeros(5, WIDTH, dtype=torch.bfloat16, requires_grad=True)
    weight, ids = torch.ones(WIDTH, dtype=torch.bfloat16, requires_grad=True), torch.zeros(ROWS, dtype=torch.int64)

    def kept(*functions):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.nbytes) or t, lambda t: t):
            for function in functions:
                function()
        return sum(sizes)

    ours = kept(lambda: layer_norm(x, weight, weight, 1e-12), lambda: embedding(ids, table))
    theirs = kept(
        lambda: torch.nn.functional.layer_norm(x, (WIDTH,), weight, weight, 1e-12),
        lambda: torch.nn.functional.embedding(ids, table),
    )
    assert ours <= theirs
