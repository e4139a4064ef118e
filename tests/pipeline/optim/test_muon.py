"""Momentum, Newton-Schulz iteration and step of Muon equal their equations in float64."""

import pytest
import torch

from pipeline.optim import muon

SHAPES = [(16, 16), (16, 40), (40, 16), (1, 7), (7, 1), (64, 64)]


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def exact(matrix):
    """Compute the quintic iteration in float64 on the singular values alone, on which an odd polynomial of a matrix
    acts.
    """
    left, values, right = torch.linalg.svd(matrix.double(), full_matrices=False)
    values = values / values.norm()
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return left @ torch.diag(values) @ right


@pytest.mark.parametrize("shape", SHAPES)
def test_iteration_is_the_quintic_of_the_singular_values(shape):
    """In fp32 the iteration equals the quintic of the singular values to 1e-5 of the norm.

    A step multiplies a rounding error by at most 3.4445, the slope at 0: five steps multiply one of 2^-24, with about
    four roundings each, by up to 485. This happens to small singular values only, which are a small part of the norm.
    """
    matrix = random(*shape)
    found = muon.orthogonalise(matrix).double()
    assert (found - exact(matrix)).norm() < 1e-5 * found.norm()


@pytest.mark.parametrize("shape", SHAPES)
def test_singular_values_are_near_one(shape):
    """Singular values above 0.002 of the Frobenius norm end in [0.68, 1.21]."""
    matrix = random(*shape, seed=1)
    before = torch.linalg.svdvals(matrix.double() / matrix.double().norm())
    after = torch.linalg.svdvals(muon.orthogonalise(matrix).double())
    assert ((after[before > 0.002] > 0.68) & (after[before > 0.002] < 1.21)).all()


def test_band_of_the_quintic():
    """The figures of the docstring hold: the image of [0.002, 1], and the largest growth of a smaller
    singular value.
    """
    values = torch.linspace(0, 1, 1_000_001, dtype=torch.float64)
    result = values.clone()
    for _ in range(5):
        a, b, c = muon.QUINTIC
        result = a * result + b * result**3 + c * result**5
    wide = result[values >= 0.002]
    assert wide.min() > 0.68 and wide.max() < 1.21
    assert (result[1:] / values[1:]).max() < 3.4445**5


def test_orthogonal_matrix_stays_one():
    """An orthogonal matrix, whose singular values are equal, is multiplied by one number in the band."""
    orthogonal = torch.linalg.qr(random(32, 32)).Q.contiguous()
    found = muon.orthogonalise(orthogonal)
    factor = (found * orthogonal).sum() / 32
    assert 0.68 < factor < 1.21
    torch.testing.assert_close(found, factor * orthogonal, rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1e8, 1e30])
def test_scale_of_the_direction_has_no_effect(scale):
    """Scaling the direction changes nothing, even if its squares are no fp32 numbers or a fixed term in the norm would
    matter.
    """
    matrix = random(8, 24)
    torch.testing.assert_close(muon.orthogonalise(matrix * scale), muon.orthogonalise(matrix), rtol=1e-4, atol=1e-6)


def test_transposition_commutes():
    """A tall matrix is computed as the transpose of a wide one."""
    matrix = random(24, 8)
    assert torch.equal(muon.orthogonalise(matrix), muon.orthogonalise(matrix.mT.contiguous()).mT)


def test_zeros_stay_zeros():
    """A matrix that has had no gradient is not changed and has no NaN."""
    assert not muon.orthogonalise(torch.zeros(3, 5)).any()


def test_alignment_has_no_effect():
    """A view at an odd offset gives the same bits."""
    matrix, buffer = random(33, 21), torch.empty(33 * 21 + 1)
    buffer[1:] = matrix.view(-1)
    assert torch.equal(muon.orthogonalise(buffer[1:].view(33, 21)), muon.orthogonalise(matrix))


@pytest.mark.parametrize("shape", [(256, 256), (256, 64), (64, 256)])
def test_updates_have_the_size_of_adamws(shape):
    """The root mean square of an update is 0.2 times the mean size of the singular values in the band."""
    found = muon.update(random(*shape))
    assert 0.2 * 0.68 < found.square().mean().sqrt() < 0.2 * 1.21


def test_momentum_is_nesterovs():
    """m and d of three steps equal their equations in float64, and d has the direction of Jordan's first version."""
    m, ours, jordan = torch.zeros(50).double(), torch.zeros(50), torch.zeros(50).double()
    for step in range(3):
        g = random(50, seed=step)
        m = 0.95 * m + 0.05 * g.double()
        jordan = 0.95 * jordan + g.double()
        expected = 0.95 * m + 0.05 * g.double()
        muon.nesterov_(found := g.clone(), ours, 0.95)
        torch.testing.assert_close(ours.double(), m, rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-7)
        torch.testing.assert_close((g.double() + 0.95 * jordan) * 0.05, expected)


def test_step_decays_the_weight_by_the_rate():
    """A step is w - lr * (u + lambda w)."""
    w, u = random(20), random(20, seed=1)
    expected = w.double() - 0.1 * (u.double() + 0.3 * w.double())
    muon.step_(w, u, lr=0.1, weight_decay=0.3)
    torch.testing.assert_close(w.double(), expected, rtol=1e-6, atol=1e-7)


def test_work_counts_the_products():
    """The stated work equals the count of torch's counter."""
    from torch.utils.flop_counter import FlopCounterMode

    for shape in SHAPES:
        with FlopCounterMode(display=False) as counter:
            muon.orthogonalise(random(*shape))
        assert counter.get_total_flops() == muon.work(shape)
