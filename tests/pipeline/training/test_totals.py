"""Averages are over the global batch, and sums are kept over a resumption."""

import json
import math

import pytest
import torch

from pipeline.runlog.terms import BEFORE_TERMS, Term
from pipeline.training.totals import COUNTED, Totals, averages, measured, order_gaps, throughput


def tensors(*values):
    """Return sums with the types of the device: losses in fp32, counts as integers."""
    return dict(zip(measured(BEFORE_TERMS), map(torch.tensor, values), strict=True))


def counts(*values):
    return dict(zip(COUNTED, values, strict=True))


def test_averages_are_sums_over_sums():
    """The average of two micro-batches of different sizes is the mean over all masked tokens, not the mean of means."""
    totals = Totals(BEFORE_TERMS, torch.device("cpu"))
    totals.add(tensors(30.0, 3, 4.0, 1), counts(10, 4, 100, 7e9, 9e9))
    totals.add(tensors(2.0, 1, 1.0, 1), counts(2, 1, 20, 1e9, 3e9))
    totals.add(tensors(99.0, 9, 99.0, 9), counts(9, 9, 9, 9, 9), weight=0)
    sums = totals.reduce()
    assert averages(BEFORE_TERMS, sums) == pytest.approx(
        {"loss": 32 / 12 + 1.0, "mlm_loss": 32 / 12, "mlm_accuracy": 4 / 12, "nsp_loss": 1.0, "nsp_accuracy": 0.4}
    )
    assert throughput(sums, 2.0, peak=16e9) == pytest.approx(
        {"tokens_per_second": 60, "sequences_per_second": 2.5, "mfu": 8e9 / 2 / 16e9, "mfu_nominal": 12e9 / 2 / 16e9}
    )
    assert totals.reduce()["tokens"] == 0


def test_sums_go_through_a_checkpoint(tmp_path):
    """`restore` sets the sums that `sums` returned, and merging resets the merged totals."""
    totals, step = Totals(BEFORE_TERMS, torch.device("cpu")), Totals(BEFORE_TERMS, torch.device("cpu"))
    step.add(tensors(30.0, 3, 4.0, 1), counts(10, 4, 100, 7e9, 9e9))
    totals.merge(step)
    assert step.sums()["tokens"] == 0 and totals.sums()["tokens"] == 100
    again = Totals(BEFORE_TERMS, torch.device("cpu"))
    again.restore(json.loads(json.dumps(totals.sums())))
    assert again.reduce() == totals.reduce()


def test_the_total_weighs_its_terms():
    """The total weighs terms as the loss does, a term without counts has no accuracy, and one without rows is NaN."""
    terms = (Term("rtd", "replaced tokens", "tokens", weight=50.0, counted=False), Term("mlm", "masked", "masked"))
    sums = {"rtd_loss": 8.0, "mlm_loss": 6.0, "mlm_correct": 1.0, "tokens": 4.0, "masked": 2.0}
    assert averages(terms, sums) == {"loss": 103.0, "rtd_loss": 2.0, "mlm_loss": 3.0, "mlm_accuracy": 0.5}
    assert math.isnan(averages(terms, sums | {"masked": 0.0})["loss"])


def test_the_order_gap_is_a_difference_of_means():
    """The order gap is the difference of the means per masked token, each over its own number of tokens."""
    intact = dict(zip(measured(BEFORE_TERMS), (30.0, 3.0, 4.0, 1.0), strict=True)) | counts(10, 4, 100, 7e9, 9e9)
    shuffled = dict(zip(measured(BEFORE_TERMS), (42.0, 1.0, 9.0, 1.0), strict=True)) | counts(12, 4, 100, 7e9, 9e9)
    assert order_gaps(BEFORE_TERMS, intact, shuffled) == pytest.approx({"mlm_order_gap": 0.5})
    assert math.isnan(order_gaps(BEFORE_TERMS, intact, shuffled | {"masked": 0.0})["mlm_order_gap"])
    terms = (BEFORE_TERMS[0], Term("soft", "soft-target", "masked", counted=False))
    sums = [each | {"soft_loss": 1.0} for each in (intact, shuffled)]
    assert order_gaps(terms, *sums) == pytest.approx({"mlm_order_gap": 0.5}), "a distance from a teacher has none"
