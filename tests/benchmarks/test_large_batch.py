"""Laws of the comparison of optimizers at equal numbers of samples."""

import math

import pytest

from benchmarks.large_batch import num_steps, row


def test_all_batch_sizes_read_equal_numbers_of_samples():
    """Steps times batch is the number of samples, and a batch size that does not divide that number is an error."""
    assert [num_steps(8192, batch) * batch for batch in (256, 1024, 8192)] == [8192] * 3
    with pytest.raises(ValueError, match=r"--num_samples 8192: .* 3000"):
        num_steps(8192, 3000)


def test_the_best_rate_has_the_least_finite_loss():
    """A run whose loss is not a number is listed with all losses and is never the best."""
    losses = {1e-3: math.nan, 2e-3: 5.25, 4e-3: 5.125}
    ends = {rate: {"mlm_loss": loss, "mlm_accuracy": loss / 50} for rate, loss in losses.items()}
    expected = "| muon | 1,024 | 8 | 0.004 | 5.125 | 0.102 | 0.001: nan, 0.002: 5.250, 0.004: 5.125 |"
    assert row("muon", 1024, 8, ends) == expected
