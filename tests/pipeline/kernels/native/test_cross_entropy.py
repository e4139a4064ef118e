"""The C++ cross entropy equals its twin in plain torch, whatever the threads, strides and widths."""

import pytest
import torch

from pipeline.data.labels import IGNORED
from pipeline.kernels import backends
from pipeline.kernels.backends import UnavailableError
from pipeline.kernels.native import cross_entropy as native
from pipeline.kernels.native import library
from pipeline.losses import cross_entropy


def rows_and_labels(rows, classes, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(classes, (rows,), generator=generator)
    labels[2::4] = IGNORED
    return (4 * torch.randn(rows, classes, generator=generator)).to(dtype), labels


@pytest.mark.parametrize("z_weight", [0.0, 0.1])
@pytest.mark.parametrize(
    ("rows", "classes"), [(13, 50), (5, 1), (5, 2), (3, 16), (3, 1023), (3, 1025), (70, 30_522), (0, 9)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_kernel_equals_its_twin(rows, classes, dtype, z_weight):
    """Losses, log normalisers, predictions and the gradient equal plain torch, ignored rows and z-loss included."""
    logits, labels = rows_and_labels(rows, classes, dtype)
    assert cross_entropy._load(logits, "auto") is native
    found, expected = (cross_entropy.forward(logits, labels, backend) for backend in ("auto", "plain"))
    torch.testing.assert_close(found, expected)
    gradients = torch.empty_like(logits), torch.empty_like(logits)
    for out, backend in zip(gradients, ("auto", "plain"), strict=True):
        scale = torch.tensor(0.37)
        cross_entropy.backward(out, logits, labels, expected.log_normalisers, scale, backend, z_weight)
    rounding = 2**-8 if dtype == torch.bfloat16 else 1e-5
    torch.testing.assert_close(*gradients, rtol=rounding, atol=1e-8)


def test_the_exponential_is_exact_to_fp32():
    """exp agrees with float64 to 3e-7 down to -87, where it becomes 0."""
    x = torch.cat([torch.linspace(-86.9, 0, 100_001), torch.tensor([-87.1, -1e30, -torch.inf])])
    out, label = torch.empty(1, len(x)), torch.tensor([len(x) - 1])
    native.backward(out, x[None], label, torch.zeros(1), torch.tensor(1.0), IGNORED, 0.0)
    assert torch.equal(out[0, -3:], torch.tensor([0.0, 0.0, -1.0]))
    torch.testing.assert_close(out[0, :-3].double(), x[:-3].double().exp(), rtol=3e-7, atol=0)


def test_threads_and_strides_do_not_change_a_bit():
    """One, two and five threads, and rows that lie apart, give the same bits."""
    logits, labels = rows_and_labels(40, 5000, torch.bfloat16)
    apart = torch.zeros(40, 5008, dtype=torch.bfloat16)[:, :5000].copy_(logits)
    before, found = torch.get_num_threads(), []
    for threads, x in ((1, logits), (2, logits), (5, logits), (1, apart)):
        torch.set_num_threads(threads)
        rows, x = native.forward(x, labels, IGNORED), x.clone(memory_format=torch.preserve_format)
        native.backward(x, x, labels, rows[1], torch.tensor(0.5), IGNORED, 0.0)
        found.append([*rows, x])
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


def test_of_equal_logits_the_first_is_predicted():
    """Of equal logits the first is predicted, as by torch."""
    logits = torch.zeros(2, 10_000)
    logits[0, [17, 9000]] = 5.0
    assert native.forward(logits, torch.zeros(2, dtype=torch.long), IGNORED)[2].tolist() == [17, 0]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_not_finite_stays_visible(bad, dtype):
    """A logit that is NaN or infinite makes its row's loss and gradient NaN, and no other row's."""
    logits, labels = rows_and_labels(3, 40, dtype)
    labels[:] = 1
    logits[1, 7] = bad
    losses, log_normalisers, _ = native.forward(logits, labels, IGNORED)
    native.backward(logits, logits, labels, log_normalisers, torch.tensor(1.0), IGNORED, 0.0)
    assert losses.isfinite().tolist() == logits.isfinite().all(1).tolist() == [True, False, True]


def test_a_label_that_is_no_class_is_refused():
    """A label beyond the classes is an error that names it, because the kernel would read beyond the row."""
    logits, labels = rows_and_labels(3, 40)
    labels[1] = 40
    with pytest.raises(IndexError, match=rf"label 40: must be in \[0, 40\), or {IGNORED}"):
        cross_entropy.forward(logits, labels, "auto")


def test_without_a_compiler_auto_says_so_and_goes_on(monkeypatch, caplog):
    """Without a compiler, `auto` says so and uses plain torch, which computes the same."""

    def fail(name):
        raise UnavailableError("cannot be compiled (no g++)")

    monkeypatch.setattr(library, "load", fail)
    backends.native_kernels.cache_clear()
    logits, labels = rows_and_labels(3, 40)
    found = cross_entropy.forward(logits, labels, "auto")
    backends.native_kernels.cache_clear()
    torch.testing.assert_close(found, cross_entropy.forward(logits, labels, "plain"))
    assert "the C++ kernel cross_entropy cannot be compiled (no g++); plain torch" in caplog.text
