"""Laws of pipeline/kernels/geglu.py."""

import pytest
import torch
from torch.nn import functional

from pipeline.kernels.geglu import GatedProduct

TOKENS, WIDTH, INTERMEDIATE = 7, 12, 20


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_output_and_gradients_equal_separate_operations(approximate, recompute):
    """They are those of a product with the GELU of the first half times the second half."""
    torch.manual_seed(0)
    module = GatedProduct(INTERMEDIATE, WIDTH, approximate, recompute).double()
    x = torch.randn(TOKENS, 2 * INTERMEDIATE, dtype=torch.float64, requires_grad=True)
    before = x.detach().clone()
    weights = torch.randn(TOKENS, WIDTH, dtype=torch.float64)
    entrance, gate = x.chunk(2, 1)
    expected = functional.gelu(entrance, approximate=approximate) * gate @ module.weight.T
    found = module(x)
    inputs = (x, module.weight)
    ours, theirs = (torch.autograd.grad((out * weights).sum(), inputs) for out in (found, expected))
    for one, other in zip((found, *ours), (expected, *theirs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    assert torch.equal(x, before) and module.bias is None


@pytest.mark.parametrize(("recompute", "kept"), [(False, 3), (True, 2)])
def test_what_is_kept_for_the_backward_pass(recompute, kept):
    """The input, twice as wide as the output of the unit, is kept, and the output unless it is computed again."""
    module, saved = GatedProduct(INTERMEDIATE, WIDTH, recompute=recompute), []
    x = torch.randn(TOKENS, 2 * INTERMEDIATE, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(tensor) or tensor, lambda tensor: tensor):
        module(x)
    of_tokens = [tensor.numel() for tensor in saved if tensor is not module.weight and len(tensor) == TOKENS]
    assert sum(of_tokens) == kept * TOKENS * INTERMEDIATE


def test_products_in_fp8_are_close():
    """With emulated FP8 the output differs by the rounding of its factors."""
    torch.manual_seed(0)
    exact, rounded = GatedProduct(32, 16), GatedProduct(32, 16, fp8="emulated")
    rounded.load_state_dict(exact.state_dict())
    x = torch.randn(TOKENS, 64, requires_grad=True)
    difference = (rounded(x) - exact(x)).abs().max() / exact(x).abs().max()
    assert 0 < difference < 0.1
    rounded(x).sum().backward()
    assert x.grad.isfinite().all() and rounded.weight.grad.isfinite().all()
