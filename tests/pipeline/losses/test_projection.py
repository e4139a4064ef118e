"""Laws of pipeline/losses/projection.py."""

import pytest
import torch
from torch.nn import functional

from pipeline.data.labels import IGNORED
from pipeline.losses import cross_entropy, projection
from pipeline.losses.cross_entropy import cross_entropy_sum
from pipeline.losses.projection import projected_cross_entropy_sum

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
ROWS, WIDTH, WORDS = 21, 8, 101
EVERYTHING = 1 << 30
BOUNDS = [1, 5 * WORDS * 4, EVERYTHING]  # a row at a time, chunks with a remainder, all at once


def inputs(dtype=torch.float64, rows=ROWS):
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(size, generator=generator) for size in ((rows, WIDTH), (WORDS, WIDTH), (WORDS,))]
    labels = torch.randint(WORDS, (rows,), generator=generator)
    labels[3::4] = IGNORED
    return [values.bfloat16().to(DEVICE, dtype).requires_grad_() for values in drawn], labels.to(DEVICE)


def results(dtype, max_bytes, backend="plain", scale=0.37, z_weight=0.0):
    tensors, labels = inputs(dtype)
    total = projected_cross_entropy_sum(*tensors, labels, max_bytes, backend, z_weight)
    (total.loss * scale).backward()
    return [total.loss.detach(), total.correct, *(tensor.grad for tensor in tensors)]


@pytest.mark.parametrize("max_bytes", BOUNDS)
@pytest.mark.parametrize("backend", ["auto", "plain", "triton"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02), (torch.float16, 4e-3)])
def test_it_equals_torch_in_float64(dtype, tolerance, max_bytes, backend):
    """Loss, count and gradients equal the product and torch's cross entropy in float64, however the rows
    are divided.
    """
    (rows, weight, bias), labels = exact = inputs()
    logits = functional.linear(rows, weight, bias)
    loss = functional.cross_entropy(logits, labels, reduction="sum", ignore_index=IGNORED)
    (loss * 0.37).backward()
    expected = [loss.detach(), (logits.argmax(1) == labels).sum(), *(tensor.grad for tensor in exact[0])]
    for ours, theirs in zip(results(dtype, max_bytes, backend), expected, strict=True):
        assert (ours.double() - theirs).abs().max() <= tolerance * theirs.abs().max()


@pytest.mark.parametrize("max_bytes", BOUNDS)
@pytest.mark.parametrize("backend", ["auto", "plain", "triton"])
def test_columns_behind_the_words_change_nothing(max_bytes, backend, monkeypatch):
    """With a product of more columns than words, as on a GPU, loss, count and gradients are those of the words."""
    monkeypatch.setattr(projection, "_columns", lambda weight: WORDS)
    expected = results(torch.float32, max_bytes, backend)
    monkeypatch.setattr(projection, "_columns", lambda weight: 112)
    for ours, theirs in zip(results(torch.float32, max_bytes, backend), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("max_bytes", BOUNDS)
@pytest.mark.parametrize(
    ("backend", "dtype"), [("plain", torch.float64), ("plain", torch.float32), ("triton", torch.float32)]
)
def test_the_z_loss_equals_autograds(backend, dtype, max_bytes):
    """Loss and gradients with a penalty of (log Z)^2 on the rows that are not ignored equal autograd's."""
    (rows, weight, bias), labels = exact = inputs()
    logits = functional.linear(rows, weight, bias)
    loss = functional.cross_entropy(logits, labels, reduction="sum", ignore_index=IGNORED)
    loss = loss + 0.03 * logits[labels != IGNORED].logsumexp(1).square().sum()
    (loss * 0.37).backward()
    expected = [loss.detach(), (logits.argmax(1) == labels).sum(), *(tensor.grad for tensor in exact[0])]
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    for ours, theirs in zip(results(dtype, max_bytes, backend, z_weight=0.03), expected, strict=True):
        assert (ours.double() - theirs).abs().max() <= tolerance * theirs.abs().max()


@pytest.mark.skipif(torch.cuda.is_available(), reason="products of other shapes round differently on a GPU")
@pytest.mark.parametrize("backend", ["auto", "plain"])
def test_where_all_fits_it_is_the_unchunked_loss(backend):
    """If all logits fit, the result has the bits of the product followed by cross_entropy_sum."""
    (rows, weight, bias), labels = inputs(torch.float32)
    total = cross_entropy_sum(functional.linear(rows, weight, bias), labels, backend)
    (total.loss * 0.37).backward()
    expected = [total.loss.detach(), total.correct, rows.grad, weight.grad, bias.grad]
    actual = results(torch.float32, ROWS * WORDS * 4, backend)
    assert all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))


@pytest.mark.parametrize("backend", ["plain", "triton"])
def test_logits_never_take_more_than_the_bound(backend, monkeypatch):
    """No tensor of logits has more rows than the bound allows, forward or backward, and none is kept
    between the two.
    """
    seen, limit = [], 5 * WORDS * 4
    for name in ("forward", "backward"):
        original = getattr(cross_entropy, name)
        monkeypatch.setattr(cross_entropy, name, lambda *a, original=original: seen.append(a[0].shape) or original(*a))
    tensors, labels = inputs(torch.float32)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        total = projected_cross_entropy_sum(*tensors, labels, limit, backend)
    total.loss.backward()
    assert seen == [(rows, WORDS) for rows in (5, 5, 5, 5, 1)] * 2
    assert all(tensor.shape != (5, WORDS) for tensor in kept)


def test_plain_gradient_is_the_derivative():
    """The gradient in chunks agrees with finite differences in float64."""
    (rows, weight, bias), _ = inputs(rows=5)
    few = [values.detach().requires_grad_() for values in (rows[:, :3], weight[:7, :3], bias[:7])]
    labels = torch.tensor([0, 6, IGNORED, 2, 2], device=DEVICE)
    assert torch.autograd.gradcheck(lambda *t: projected_cross_entropy_sum(*t, labels, 2 * 7 * 8, "plain").loss, few)


@pytest.mark.parametrize("backend", ["plain", "triton"])
def test_no_rows_cost_nothing(backend):
    """A micro-batch in which nothing is masked adds 0 and still has gradients."""
    tensors, labels = inputs(torch.float32, rows=0)
    total = projected_cross_entropy_sum(*tensors, labels, 1, backend)
    total.loss.backward()
    assert total.loss == 0 and total.correct == 0
    assert all(torch.equal(tensor.grad, torch.zeros_like(tensor)) for tensor in tensors)


def test_a_second_backward_pass_is_refused():
    """A second backward pass is an error of autograd, since the kept logits were overwritten by their gradient."""
    tensors, labels = inputs(torch.float32)
    total = projected_cross_entropy_sum(*tensors, labels, EVERYTHING, "triton")
    total.loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.loss.backward()


@pytest.mark.parametrize("backend", ["plain", "triton"])
@pytest.mark.parametrize("max_bytes", BOUNDS)
def test_under_autocast_the_product_is_16_bit(backend, max_bytes):
    """Gradients of fp32 parameters are fp32, and have the values of bf16 parameters."""
    tensors, labels = inputs(torch.float32)
    with torch.autocast(DEVICE, torch.bfloat16):
        total = projected_cross_entropy_sum(*tensors, labels, max_bytes, backend)
    (total.loss * 0.37).backward()
    actual = [total.loss.detach(), total.correct, *(tensor.grad for tensor in tensors)]
    assert all(tensor.grad.dtype == torch.float32 for tensor in tensors)
    for ours, theirs in zip(actual, results(torch.bfloat16, max_bytes), strict=True):
        assert (ours.double() - theirs.double()).abs().max() <= 0.02 * theirs.abs().max()


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA's allocator needs no such buffer")
def test_the_logits_of_all_micro_batches_share_one_buffer(monkeypatch):
    """On a CPU a micro-batch of other rows uses the same memory, after a backward pass and after an evaluation."""
    places = []
    forward = cross_entropy.forward
    monkeypatch.setattr(cross_entropy, "forward", lambda *a: places.append(a[0].data_ptr()) or forward(*a))
    projection._spare.clear()
    for rows in (ROWS, 2, ROWS - 1):
        tensors, labels = inputs(torch.float32, rows)
        expected = projected_cross_entropy_sum(*tensors, labels, EVERYTHING)
        expected.loss.backward()
        with torch.no_grad():
            assert projected_cross_entropy_sum(*tensors, labels, EVERYTHING).loss == expected.loss
    assert len(places) == 6 and len(set(places)) == 1


def test_two_losses_before_a_backward_pass_do_not_share_logits():
    """The gradients of a sum of two losses are the sum of their gradients."""
    first, second = inputs(torch.float32), inputs(torch.float32, rows=7)
    for tensors, labels in (first, second):
        projected_cross_entropy_sum(*tensors, labels, EVERYTHING).loss.backward()
    expected = [tensor.grad for tensors, _ in (first, second) for tensor in tensors]
    again = [inputs(torch.float32), inputs(torch.float32, rows=7)]
    losses = [projected_cross_entropy_sum(*tensors, labels, EVERYTHING).loss for tensors, labels in again]
    sum(losses).backward()
    actual = [tensor.grad for tensors, _ in again for tensor in tensors]
    assert all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))
