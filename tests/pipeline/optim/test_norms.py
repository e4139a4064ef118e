"""Sums of squares are exact over very many elements."""

import pytest
import torch

from pipeline.optim.norms import ROW, sum_of_squares


def test_thirty_one_million_elements():
    """The norm is exact for 31 million elements, at which torch's own fp32 norm on a CPU is off by 1.7e-3; bert-base's
    word embeddings have 23 million.
    """
    values = torch.randn(31_000_001, generator=torch.Generator().manual_seed(0)) * 1e-3
    exact = sum(part.double().square().sum().item() for part in values.split(2**20))
    assert sum_of_squares([values]).item() == pytest.approx(exact, rel=1e-8)


@pytest.mark.parametrize("sizes", [[1], [ROW], [ROW + 1], [3, ROW, 5 * ROW + 7, 1, 2 * ROW]])
def test_any_sizes(sizes):
    """Each element counts once: in whole rows, in the remainder, and in tensors shorter than a row."""
    generator = torch.Generator().manual_seed(1)
    tensors = [torch.randn(size, generator=generator) for size in sizes]
    exact = sum(tensor.double().square().sum().item() for tensor in tensors)
    result = sum_of_squares([tensor.view(1, -1) for tensor in tensors])
    assert result.dtype == torch.float64 and result.item() == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("odd", [torch.inf, torch.nan])
@pytest.mark.parametrize("size", [5, ROW + 3])
def test_what_is_not_finite_stays_so(odd, size):
    """An infinite or NaN element makes the norm infinite or NaN."""
    values = torch.ones(size)
    values[-1] = odd
    assert not torch.isfinite(sum_of_squares([torch.ones(2), values]))
