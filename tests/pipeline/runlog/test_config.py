"""Values of `[logging]` that are out of range are errors that name the field."""

import pytest

from pipeline.runlog.config import LoggingConfig


@pytest.mark.parametrize(("field", "wrong", "least"), [("every", 0, 1), ("peak_tflops", -0.5, 0.0)])
def test_least_values(field, wrong, least):
    """The smallest value is accepted, and a smaller one is an error."""
    LoggingConfig(**{field: least})
    with pytest.raises(ValueError, match=rf"^logging.{field} = {wrong}: must be "):
        LoggingConfig(**{field: wrong})
