"""Values of `[evaluation]` that are out of range are errors that name the field."""

import pytest

from pipeline.training.config import EvaluationConfig


@pytest.mark.parametrize(
    ("field", "wrong", "least"), [("every", -1, 0), ("samples", 0, 1), ("order_gap_samples", -1, 0)]
)
def test_least_values(field, wrong, least):
    """No evaluations and no order gap are accepted; an evaluation of no samples is an error."""
    EvaluationConfig(**{field: least})
    with pytest.raises(ValueError, match=rf"^evaluation.{field} = {wrong}: must be at least {least}"):
        EvaluationConfig(**{field: wrong})
