"""Laws of pipeline/losses/cross_entropy.py."""

import pytest
import torch
from torch.nn import functional

from pipeline.data.labels import IGNORED
from pipeline.losses import cross_entropy
from pipeline.losses.cross_entropy import cross_entropy_sum

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # of the Triton kernel; without a GPU it is interpreted


def rows_and_labels(rows=13, classes=50, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(rows, classes, generator=generator)
    return logits.to(dtype).requires_grad_(), torch.randint(classes, (rows,), generator=generator)


def loss_and_gradient(function, logits, scale):
    (function(logits) * scale).backward()
    gradient, logits.grad = logits.grad, None
    return function(logits).detach(), gradient


@pytest.mark.parametrize("chunk_elements", [1, 200, 1 << 21])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_it_equals_torch_on_widened_logits(dtype, chunk_elements, monkeypatch):
    """Loss and gradient equal torch's cross entropy on fp32 logits, however the rows are divided into chunks."""
    monkeypatch.setattr(cross_entropy, "CPU_CHUNK_ELEMENTS", chunk_elements)
    logits, labels = rows_and_labels(dtype=dtype)
    wide = torch.promote_types(dtype, torch.float32)
    loss, gradient = loss_and_gradient(lambda x: cross_entropy_sum(x, labels).loss, logits, 0.37)
    expected = loss_and_gradient(lambda x: functional.cross_entropy(x.to(wide), labels, reduction="sum"), logits, 0.37)
    assert loss.dtype == wide and gradient.dtype == dtype
    torch.testing.assert_close(loss, expected[0])
    torch.testing.assert_close(gradient, expected[1])


@pytest.mark.parametrize("z_weight", [0.0, 0.2])
def test_the_gradient_is_the_derivative(z_weight):
    """The gradient agrees with finite differences in float64, with a z-loss and without."""
    logits, labels = rows_and_labels(5, 7, torch.float64)
    labels[2] = IGNORED
    assert torch.autograd.gradcheck(lambda x: cross_entropy_sum(x, labels, "plain", z_weight).loss, logits)


@pytest.mark.parametrize("backend", ["plain", "triton"])
def test_the_z_loss_is_told_apart(backend):
    """The z-loss is the weighted sum of (log Z)^2 and has no gradient of its own; without it, the loss is the cross
    entropy.
    """
    logits, labels = rows_and_labels()
    labels[4] = IGNORED
    logits = logits.detach().to(DEVICE).requires_grad_()
    plain, total = (cross_entropy_sum(logits, labels.to(DEVICE), backend, weight) for weight in (0.0, 0.1))
    squares = torch.logsumexp(logits, 1).square().detach()
    torch.testing.assert_close(total.z_loss, 0.1 * (squares.sum() - squares[4]))
    torch.testing.assert_close(total.loss - total.z_loss, plain.loss)
    assert plain.z_loss is None and not total.z_loss.requires_grad and total.correct == plain.correct


def test_correct_counts_the_rows_whose_largest_logit_is_the_label():
    """The count equals a comparison with argmax, and chunking does not change it."""
    logits, labels = rows_and_labels(40, 3)
    assert cross_entropy_sum(logits, labels).correct == (logits.argmax(1) == labels).sum() > 0


def test_large_logits_stay_finite():
    """The loss is computed from differences to the largest logit, so that exp does not overflow."""
    logits = torch.tensor([[1e4, 0.0], [0.0, 1e4]], requires_grad=True)
    loss = cross_entropy_sum(logits, torch.tensor([0, 0])).loss
    loss.backward()
    assert loss == 1e4
    assert torch.equal(logits.grad, torch.tensor([[0.0, 0.0], [-1.0, 1.0]]))


def test_no_rows_cost_nothing():
    """A micro-batch in which nothing is masked adds 0 and still has a gradient."""
    logits = torch.zeros(0, 9, requires_grad=True)
    total = cross_entropy_sum(logits, torch.zeros(0, dtype=torch.long))
    total.loss.backward()
    assert total.loss == 0 and total.correct == 0 and logits.grad.shape == (0, 9)


def test_ignored_rows_count_for_nothing():
    """Ignored rows add neither loss nor hits and have a gradient of 0, and the other rows are not affected."""
    logits, labels = rows_and_labels()
    ignored = torch.arange(len(labels)) % 3 == 1
    some = cross_entropy_sum(logits, labels.masked_fill(ignored, IGNORED))
    some.loss.backward()
    gradient, logits.grad = logits.grad, None
    rest = cross_entropy_sum(logits[~ignored], labels[~ignored])
    rest.loss.backward()
    torch.testing.assert_close(some.loss, rest.loss)
    assert some.correct == rest.correct
    assert torch.equal(gradient, logits.grad)


def test_sums_over_parts_add_up_to_the_whole():
    """The sum over all rows is the sum of the sums over any split of them."""
    logits, labels = rows_and_labels(dtype=torch.float64)
    parts = [cross_entropy_sum(x, y) for x, y in zip(logits.split(5), labels.split(5), strict=True)]
    whole = cross_entropy_sum(logits, labels)
    torch.testing.assert_close(sum(part.loss for part in parts), whole.loss)
    assert sum(part.correct for part in parts) == whole.correct


@pytest.mark.parametrize(("rows", "classes"), [(13, 50), (3, 4096), (3, 10_000), (5, 2), (0, 9)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_kernel_equals_its_twin(rows, classes, dtype):
    """Loss, count and gradient of the kernel equal plain torch for rows of every size relative to a block, ignored rows
    included.
    """
    found = []
    for backend in ("plain", "triton"):
        logits, labels = rows_and_labels(rows, classes, dtype)
        labels[2::4] = IGNORED
        logits = logits.detach().to(DEVICE).requires_grad_()
        total = cross_entropy_sum(logits, labels.to(DEVICE), backend)
        (total.loss * 0.37).backward()
        found.append((total.loss.detach(), total.correct, logits.grad))
    (loss, correct, gradient), (kernel_loss, kernel_correct, kernel_gradient) = found
    torch.testing.assert_close(kernel_loss, loss)
    assert kernel_correct == correct
    # Without a GPU, Triton's interpreter cuts off bf16's low bits instead of rounding.
    rounding = 2**-7 if dtype == torch.bfloat16 else 1e-5
    torch.testing.assert_close(kernel_gradient, gradient, rtol=rounding, atol=1e-8)


def test_the_kernel_predicts_the_first_of_equal_logits_and_stays_finite():
    """Of equal logits the kernel predicts the first, as torch does on a CPU; large logits do not overflow, and NaN
    stays NaN.
    """
    logits = torch.tensor([[0.0, 1e4, 1e4], [2e4, -1e4, 2e4]], device=DEVICE)
    labels = torch.tensor([1, 0], device=DEVICE)
    total = cross_entropy_sum(logits, labels, "triton")
    assert total.correct == 2
    torch.testing.assert_close(total.loss, torch.tensor(2 * 0.6931472, device=DEVICE), rtol=0, atol=2e-3)
    far = torch.zeros(1, 10_000, device=DEVICE)
    far[0, [17, 9000]] = 5.0  # in different blocks
    assert cross_entropy_sum(far, torch.tensor([17], device=DEVICE), "triton").correct == 1
    logits[1, 2] = torch.nan
    assert cross_entropy_sum(logits, labels, "triton").loss.isnan()


def test_the_kernel_repeats_bit_for_bit():
    """Losses are written per row and added up by torch, so that they repeat bit for bit."""
    logits, labels = (tensor.to(DEVICE) for tensor in rows_and_labels(13, 5000))
    assert torch.equal(*(cross_entropy_sum(logits, labels, "triton").loss for _ in range(2)))
