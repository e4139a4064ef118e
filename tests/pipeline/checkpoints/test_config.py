"""Values of `[checkpoint]` that are out of range are errors that name the field."""

import pytest

from pipeline.checkpoints.config import CheckpointConfig


@pytest.mark.parametrize(
    ("field", "wrong", "least", "rule"),
    [("every", 0, 1, "at least 1"), ("keep", 0, 1, "at least 1"), ("keep_every", -1, 0, r"0 \(none\) or a number")],
)
def test_least_values(field, wrong, least, rule):
    """The smallest value is accepted, and the value below it is an error."""
    CheckpointConfig(**{field: least})
    with pytest.raises(ValueError, match=rf"^checkpoint.{field} = {wrong}: must be {rule}"):
        CheckpointConfig(**{field: wrong})
