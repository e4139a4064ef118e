"""Differences between models are measured against the largest value, and NaN is never equal."""

import math

import pytest
import torch

from pipeline.conversion import verification
from pipeline.data.template import Template

NAN = float("nan")


@pytest.mark.parametrize(
    ("theirs", "ours", "difference"),
    [([0.5, 0.2], [0.4, 0.2], 0.1), ([0.0, 21.0], [0.0, 20.0], 0.05), ([0.0], [0.0], 0.0)],
)
def test_the_difference_is_relative_to_values_above_one(theirs, ours, difference):
    """Below 1 the difference is absolute, above it is relative to the largest value."""
    assert verification.relative_difference(torch.tensor(theirs), torch.tensor(ours)) == pytest.approx(difference)


def test_nan_is_a_difference():
    """A NaN in any batch and on either side fails the comparison."""
    one, nan = {"logits": torch.ones(2)}, {"logits": torch.tensor([1.0, NAN])}
    for theirs, ours in (([one, nan], [one, one]), ([one, one], [nan, one])):
        found = verification.largest_difference(theirs, ours)
        assert math.isnan(found["logits"])
        with pytest.raises(ValueError, match="transformers computes other logits"):
            verification.require_same(found)


def test_an_absent_output_is_an_error():
    """An output that only this project computes is an error, because nothing would be compared."""
    with pytest.raises(ValueError, match="the logits cannot be compared"):
        verification.largest_difference([{"logits": None}], [{"logits": torch.ones(1)}])


def test_a_batch_is_padded_with_its_mask():
    """Tokens, segments and mask of a batch without padding are padded to the longest sequence."""
    batch = verification.batch_of_ids([[5, 6, 7], [8]], [[0, 1, 1], [0]], Template(first_position=2))
    assert batch.position_ids.tolist() == [2, 3, 4, 2] and batch.max_seqlen == 3
    padded = verification.padded_inputs(batch, 9)
    assert padded["input_ids"].tolist() == [[5, 6, 7], [8, 9, 9]]
    assert padded["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert padded["token_type_ids"].tolist() == [[0, 1, 1], [0, 0, 0]]
    without = verification.batch_of_ids([[5]], [[0]], Template(segments=False))
    assert "token_type_ids" not in verification.padded_inputs(without, 9)
