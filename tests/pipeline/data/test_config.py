"""Values of `[data]` and `[masking]` that are out of range are errors that name the field."""

from pathlib import Path

import pytest

from pipeline.data.config import BatchConfig, DataConfig, MaskingConfig


@pytest.mark.parametrize(("field", "value"), [("num_workers", -1), ("prefetch", 0), ("token_multiple", 0)])
def test_data_out_of_range(field, value):
    """The number of workers is at least 0, and the other values are at least 1."""
    with pytest.raises(ValueError, match=rf"data.{field} = {value}: must be"):
        DataConfig(Path("samples"), **{field: value})


@pytest.mark.parametrize(
    ("earlier", "until"), [([], [0.5]), (["a"], []), (["a"], [0.0]), (["a"], [1.0]), (["a", "b"], [0.6, 0.5])]
)
def test_shares_of_earlier_samples(earlier, until):
    """Earlier samples need one share for each directory, in ascending order and within the run."""
    with pytest.raises(ValueError, match=r"data.until = \[.*\]: must "):
        DataConfig(Path("samples"), earlier_samples=[Path(name) for name in earlier], until=until)


@pytest.mark.parametrize(("field", "value"), [("global_batch_size_start", 7), ("growth_proportion", 0.0)])
def test_growth_out_of_range(field, value):
    """The size of the first batch must divide that of the last one, and the growth takes a part of the run."""
    with pytest.raises(ValueError, match=rf"batch.{field} = {value}: must "):
        BatchConfig(24, **{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("probability", 0.0),
        ("probability", 0.51),
        ("probability_start", -0.1),
        ("probability_start", 0.51),
        ("mask_only_above", 0.6),
        ("max_predictions", -1),
        ("duplicates", -1),
    ],
)
def test_masking_out_of_range(field, value):
    """Masked fractions are at most one half, and numbers are not negative."""
    with pytest.raises(ValueError, match=rf"masking.{field} = {value}: must be"):
        MaskingConfig(**{field: value})
