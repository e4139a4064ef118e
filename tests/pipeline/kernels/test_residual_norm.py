"""Laws of pipeline/kernels/residual_norm.py and its Triton kernel."""

import pytest
import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from pipeline.kernels.dropout import draw_seed
from pipeline.kernels.residual_norm import ResidualNorm, residual_norm
from pipeline.kernels.triton import residual_norm as kernel

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
EPS = 1e-5
# Widths below, at and between powers of two; one row, an odd number, and more than all programs take at once.
SHAPES = [(1, 24), (37, 48), (5, 768), (3, 1024), (2, 3000)]


def inputs(shape, dtype=torch.float64):
    """Return x, residual, weight and bias, rounded to bf16 so that they are equal in every type."""
    generator = torch.Generator().manual_seed(1)
    drawn = [torch.randn(size, generator=generator) for size in (shape, shape, shape[1:], shape[1:])]
    return [values.bfloat16().to(DEVICE, dtype).requires_grad_() for values in drawn]


def results(tensors, *, dropout_p=0.0, backend="plain", seed=0):
    """Return the output and the four gradients of a weighted sum of it."""
    torch.manual_seed(seed)
    out = residual_norm(*tensors, EPS, dropout_p, backend)
    weights = torch.linspace(0.5, 1.5, out.numel(), dtype=torch.float64, device=DEVICE).view_as(out)
    (out * weights).sum().backward()
    return [out.detach(), *(tensor.grad for tensor in tensors)]


def close(actual, expected, tolerance):
    for ours, theirs in zip(actual, expected, strict=True):
        assert (ours.double() - theirs).abs().max() <= tolerance * theirs.abs().max()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("backend", ["plain", "triton"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_output_and_gradients_equal_float64(shape, backend, dtype, tolerance):
    """Without dropout, output and gradients are the normalised sum and its derivatives in float64."""
    actual = results(inputs(shape, dtype), backend=backend)
    assert all(tensor.dtype == dtype for tensor in actual)
    close(actual, results(inputs(shape)), tolerance)


def test_more_rows_than_programs(monkeypatch):
    """A program that takes several groups of rows adds up all of them."""
    monkeypatch.setattr(kernel, "PROGRAMS", 3)
    monkeypatch.setattr(kernel, "TILE", 128)
    close(results(inputs((37, 48), torch.float32), backend="triton"), results(inputs((37, 48))), 1e-5)


def test_plain_gradient_is_the_derivative():
    """The gradient in plain torch agrees with finite differences in float64."""
    assert torch.autograd.gradcheck(lambda *tensors: residual_norm(*tensors, EPS, backend="plain"), inputs((3, 5)))


def kept_by_the_kernel(shape, probability, seed=0):
    """Return the scaled mask that the kernel drew, which is the ratio of x's gradient to the residual's."""
    tensors = inputs(shape, torch.float32)
    _, x_grad, residual_grad, _, _ = results(tensors, dropout_p=probability, backend="triton", seed=seed)
    return x_grad / residual_grad


@pytest.mark.parametrize("probability", [0.1, 0.5])
def test_the_share_of_dropped_elements(probability):
    """The given share is dropped, equally in every lane of the generator and in every row; the rest is scaled up."""
    mask = kept_by_the_kernel((200, 256), probability)
    dropped = mask == 0
    share = torch.tensor(1 / (1 - probability), device=DEVICE)
    torch.testing.assert_close(mask[~dropped], share.expand_as(mask[~dropped]), rtol=1e-4, atol=0)
    lanes = dropped.double().view(-1, 8)
    sigma = (probability * (1 - probability) / len(lanes)) ** 0.5
    assert (lanes.mean(0) - probability).abs().max() < 5 * sigma
    assert (torch.corrcoef(lanes.T) - torch.eye(8, device=DEVICE)).abs().max() < 5 / len(lanes) ** 0.5
    rows = dropped.double().mean(1)
    assert (rows - probability).abs().max() < 5.5 * (probability * (1 - probability) / 256) ** 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_forward_and_backward_use_the_same_mask(dtype):
    """With the mask that follows from the gradients, output and gradients are those of float64."""
    mask = kept_by_the_kernel((37, 48), 0.3).double()
    x, residual, weight, bias = exact = inputs((37, 48))
    out = functional.layer_norm(residual + x * mask, (48,), weight, bias, EPS)
    (out * torch.linspace(0.5, 1.5, out.numel(), dtype=torch.float64, device=DEVICE).view_as(out)).sum().backward()
    expected = [out.detach(), *(tensor.grad for tensor in exact)]
    actual = results(inputs((37, 48), dtype), dropout_p=0.3, backend="triton")
    close(actual, expected, 1e-4 if dtype == torch.float32 else 0.02)


def test_the_seed_decides_the_mask_and_a_run_repeats_bit_for_bit():
    """The same seed gives the same bits; the next call, and another seed, give other masks."""
    first, again, other = (
        results(inputs((37, 48), torch.float32), dropout_p=0.3, backend="triton", seed=seed) for seed in (0, 0, 1)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[1] == 0, other[1] == 0)
    tensors = inputs((37, 48), torch.float32)
    with torch.no_grad():
        one, two = (residual_norm(*tensors, EPS, 0.3, "triton") for _ in range(2))
    assert not torch.equal(one, two)


def test_a_given_seed_decides_the_mask():
    """With the seed that the kernel would draw, the output has the same bits, and the generator is not used."""
    tensors = inputs((37, 48), torch.float32)
    torch.manual_seed(0)
    drawn = residual_norm(*tensors, EPS, 0.3, "triton")
    torch.manual_seed(0)
    seed = draw_seed(0.3, torch.device(DEVICE))
    state = torch.get_rng_state()
    assert torch.equal(residual_norm(*tensors, EPS, 0.3, "triton", seed), drawn)
    assert torch.equal(torch.get_rng_state(), state)


def test_recomputation_repeats_the_mask():
    """Under activation checkpointing the gradients have the same bits."""
    gradients = []
    for wrapped in (False, True):
        tensors = inputs((37, 48), torch.float32)
        torch.manual_seed(0)
        arguments = (*tensors, EPS, 0.3, "triton")
        out = checkpoint(residual_norm, *arguments, use_reentrant=False) if wrapped else residual_norm(*arguments)
        out.square().sum().backward()
        gradients.append([tensor.grad for tensor in tensors])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_under_autocast_the_sum_is_fp32():
    """For a 16-bit product and an fp32 residual, as autocast gives them, types and values are those of plain torch."""
    found = []
    for backend in ("plain", "triton"):
        x, residual, weight, bias = inputs((37, 48), torch.float32)
        half = x.detach().bfloat16().requires_grad_()
        with torch.autocast(DEVICE, torch.bfloat16):
            out = residual_norm(half, residual, weight, bias, EPS, 0.0, backend)
        out.square().sum().backward()
        found.append([out.detach(), half.grad, residual.grad, weight.grad, bias.grad])
    for plain, triton in zip(*found, strict=True):
        assert plain.dtype == triton.dtype
        close([triton], [plain.double()], 0.02 if plain.dtype == torch.bfloat16 else 1e-5)


def test_neither_sum_nor_mask_is_kept():
    """For the backward pass only x and the residual, which exist already, and two numbers per row are kept."""
    tensors = inputs((37, 48), torch.float32)
    places = {tensor.data_ptr() for tensor in tensors}
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        residual_norm(*tensors, EPS, 0.3, "triton")
    assert sum(tensor.numel() for tensor in kept if tensor.data_ptr() not in places) == 1 + 2 * 37


def test_the_module_drops_in_training_only():
    """In evaluation the module is the normalised sum, and in training it drops elements."""
    x, residual, *_ = inputs((37, 48), torch.float32)
    for backend in ("plain", "triton"):
        norm = ResidualNorm(48, EPS, 0.5, backend).to(DEVICE)
        expected = functional.layer_norm(x + residual, (48,), norm.weight, norm.bias, EPS)
        torch.testing.assert_close(norm.eval()(x, residual), expected, rtol=1e-5, atol=1e-5)
        assert not torch.allclose(norm.train()(x, residual), expected, rtol=1e-2, atol=1e-2)
