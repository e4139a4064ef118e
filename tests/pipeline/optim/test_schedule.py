"""Schedules against hand-computed fractions."""

import pytest

from pipeline.optim.schedule import ScheduleConfig, learning_rate_factor


def test_polynomial_equals_the_published_formula():
    """NVIDIA's recipe: linear to step 0.2843 * 7038 = 2000.9, then the root of what is left of the run."""
    config = ScheduleConfig(total_steps=7038, warmup_proportion=0.2843, decay="polynomial", degree=0.5)
    assert learning_rate_factor(1, config) == pytest.approx(1 / 2000.9034)
    assert learning_rate_factor(1000, config) == pytest.approx(1000 / 2000.9034)
    assert learning_rate_factor(3001, config) == pytest.approx((1 - 3000 / 7038) ** 0.5)
    assert learning_rate_factor(7038, config) == pytest.approx((1 / 7038) ** 0.5)


def test_linear_runs_from_the_peak_to_zero():
    """100 steps, 10 of warm-up: 0.1 ... 1, then 90 equal decrements."""
    config = ScheduleConfig(total_steps=100, warmup_proportion=0.1, decay="linear")
    factors = [learning_rate_factor(step, config) for step in range(1, 101)]
    assert factors[:10] == pytest.approx([k / 10 for k in range(1, 11)])
    assert factors[10:] == pytest.approx([k / 90 for k in range(90, 0, -1)])


def test_bert_decays_from_step_zero():
    """google-research/bert: degree 1, measured from step 0 and not from the end of warm-up."""
    config = ScheduleConfig(total_steps=1000, warmup_proportion=0.01, decay="polynomial", degree=1.0)
    assert learning_rate_factor(501, config) == pytest.approx(0.5)


def test_no_warmup_starts_at_the_peak():
    """warmup_proportion 0 divides by nothing."""
    assert learning_rate_factor(1, ScheduleConfig(total_steps=10, warmup_proportion=0.0, decay="linear")) == 1.0


@pytest.mark.parametrize(("field", "value"), [("total_steps", 0), ("warmup_proportion", 1.0), ("degree", 0.0)])
def test_out_of_range_is_named(field, value):
    """The error names field and value."""
    with pytest.raises(ValueError, match=f"schedule.{field} = {value}"):
        ScheduleConfig(**{field: value})
