"""A micro-batch's loss is its share of the global loss."""

import pytest
import torch

from pipeline.losses.cross_entropy import RowSum
from pipeline.model.output import combined
from pipeline.runlog.terms import Term

TERMS = (Term("rtd", "replaced tokens", "tokens", weight=50.0, counted=False), Term("mlm", "masked-token", "masked"))


def sums(rtd, mlm):
    """Return the sums over a micro-batch by term, with one right prediction each."""
    values = {"rtd": rtd, "mlm": mlm}
    return {name: RowSum(torch.tensor(value, requires_grad=True), torch.tensor(1)) for name, value in values.items()}


def test_shares_add_up_to_the_weighted_mean_over_the_global_batch():
    """Each term is divided by its count of the global batch, whatever the count of the micro-batch (law 3)."""
    totals = {"tokens": 100, "masked": 10, "samples": 4}
    parts = [combined(TERMS, sums(3.0, 20.0), totals), combined(TERMS, sums(1.0, 10.0), totals)]
    assert sum(part.loss.item() for part in parts) == pytest.approx(50 * 4 / 100 + 30 / 10)
    assert all(part.loss.requires_grad for part in parts)


def test_sums_are_named_after_their_terms_and_carry_no_gradients():
    """Sums have the names of their terms and no gradient, and an uncounted term has no number of right predictions."""
    output = combined(TERMS, sums(3.0, 20.0), {"tokens": 100, "masked": 10})
    assert {name: value.item() for name, value in output.sums.items()} == {
        "rtd_loss": 3.0,
        "mlm_loss": 20.0,
        "mlm_correct": 1,
    }
    assert not any(value.requires_grad for value in output.sums.values())
