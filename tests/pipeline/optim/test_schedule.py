"""Schedules equal fractions computed by hand, and keep the laws that hold for all of them."""

from dataclasses import replace
from itertools import pairwise

import pytest

from pipeline.optim.schedule import ScheduleConfig, learning_rate_factor, steps_averaged


def test_polynomial_equals_the_published_formula():
    """NVIDIA's recipe rises linearly to step 0.2843 * 7038 = 2000.9 and then falls as the root of what is left of the
    run.
    """
    config = ScheduleConfig(total_steps=7038, warmup_proportion=0.2843, decay="polynomial", degree=0.5)
    assert learning_rate_factor(1, config) == pytest.approx(1 / 2000.9034)
    assert learning_rate_factor(1000, config) == pytest.approx(1000 / 2000.9034)
    assert learning_rate_factor(3001, config) == pytest.approx((1 - 3000 / 7038) ** 0.5)
    assert learning_rate_factor(7038, config) == pytest.approx((1 / 7038) ** 0.5)


def test_linear_runs_from_the_peak_to_zero():
    """In 100 steps, 10 of them warm-up, the rate rises by 0.1 ... 1 and then falls in 90 equal decrements."""
    config = ScheduleConfig(total_steps=100, warmup_proportion=0.1, decay="linear")
    factors = [learning_rate_factor(step, config) for step in range(1, 101)]
    assert factors[:10] == pytest.approx([k / 10 for k in range(1, 11)])
    assert factors[10:] == pytest.approx([k / 90 for k in range(90, 0, -1)])


def test_bert_decays_from_step_zero():
    """google-research/bert's decay is linear and measured from step 0, not from the end of warm-up."""
    config = ScheduleConfig(total_steps=1000, warmup_proportion=0.01, decay="polynomial", degree=1.0)
    assert learning_rate_factor(501, config) == pytest.approx(0.5)


def test_no_warmup_starts_at_the_peak():
    """Without warm-up the first step has the peak rate."""
    assert learning_rate_factor(1, ScheduleConfig(total_steps=10, warmup_proportion=0.0, decay="linear")) == 1.0


def test_cosine_is_half_a_wave_between_peak_and_zero():
    """At a quarter, half and three quarters of the decay the cosine is (1 + cos(pi x)) / 2."""
    config = ScheduleConfig(total_steps=100, warmup_proportion=0.2, decay="cosine")
    assert [learning_rate_factor(step, config) for step in (20, 21, 41, 61, 81, 101)] == pytest.approx(
        [1.0, 1.0, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2, 0.0]
    )


def test_stable_stays_at_the_peak_and_then_falls():
    """After 10 steps of warm-up and 70 at the peak, the rate decays for 20 steps, linearly or as 1 - sqrt(share)."""
    config = ScheduleConfig(total_steps=100, warmup_proportion=0.1, decay="stable", decay_proportion=0.2)
    factors = [learning_rate_factor(step, config) for step in range(1, 102)]
    assert factors[:10] == pytest.approx([k / 10 for k in range(1, 11)])
    assert factors[10:80] == [1.0] * 70
    assert factors[80:] == pytest.approx([k / 20 for k in range(20, -1, -1)])
    root = replace(config, decay_shape="sqrt")
    assert [learning_rate_factor(step, root) for step in (80, 81, 86, 101)] == pytest.approx([1.0, 1.0, 0.5, 0.0])


def test_stable_without_a_stable_part_is_linear():
    """If the decay begins at the end of warm-up, stable and linear are the same schedule."""
    linear = ScheduleConfig(total_steps=200, warmup_proportion=0.25, decay="linear", floor=0.1)
    stable = replace(linear, decay="stable", decay_proportion=0.75)
    for step in range(1, 202):
        assert learning_rate_factor(step, stable) == pytest.approx(learning_rate_factor(step, linear))


@pytest.mark.parametrize("floor", [0.0, 0.1, 1.0])
@pytest.mark.parametrize(
    "shape",
    [
        {"decay": "polynomial", "degree": 0.5},
        {"decay": "polynomial", "degree": 1.0},
        {"decay": "linear"},
        {"decay": "cosine"},
        {"decay": "stable"},
        {"decay": "stable", "decay_shape": "sqrt"},
    ],
    ids=str,
)
def test_every_decay_falls_to_the_floor(shape, floor):
    """The rate rises during warm-up, never rises afterwards, and is the floor after the last step; it is linear in the
    floor, and continuous except for the polynomial, which is measured from step 0.
    """
    config = ScheduleConfig(total_steps=1000, warmup_proportion=0.1, floor=floor, **shape)
    factors = [learning_rate_factor(step, config) for step in range(1, 1002)]
    assert factors[:100] == pytest.approx([step / 100 for step in range(1, 101)])
    assert all(one >= other for one, other in pairwise(factors[99:]))
    assert factors[-1] == learning_rate_factor(5000, config) == pytest.approx(floor, abs=1e-12)
    without = [learning_rate_factor(step, replace(config, floor=0.0)) for step in range(101, 1002)]
    assert factors[100:] == pytest.approx([floor + (1 - floor) * value for value in without])
    largest = max(one - other for one, other in pairwise(factors[99:]))
    expected = {"linear": 1 / 900, "cosine": 0.0018, "stable": 1 / 200}.get(config.decay, 1.0)
    assert largest <= (1.0 if config.decay_shape == "sqrt" else expected * 1.001)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("total_steps", 0),
        ("minutes", -1.0),
        ("warmup_proportion", 1.0),
        ("degree", 0.0),
        ("decay_proportion", 0.0),
        ("decay_proportion", 1.1),
        ("average_last", 1.1),
        ("floor", -0.1),
        ("floor", 1.5),
    ],
)
def test_out_of_range_is_named(field, value):
    """The error for a value out of range names field and value."""
    with pytest.raises(ValueError, match=f"schedule.{field} = {value}"):
        ScheduleConfig(**{field: value})


def test_warmup_and_decay_must_fit_into_the_run():
    """Warm-up and decay of the stable schedule take at most the whole run; other schedules ignore decay_proportion."""
    with pytest.raises(ValueError, match=r"schedule.decay_proportion = 0.8: must be at most .* = 0.7"):
        ScheduleConfig(warmup_proportion=0.3, decay="stable", decay_proportion=0.8)
    ScheduleConfig(warmup_proportion=0.3, decay="linear", decay_proportion=0.8)


def test_the_average_grows_over_the_last_steps():
    """A quarter of 8 steps is two steps, a share of less than a step is one, and 0 is none."""
    assert [steps_averaged(step, 8, 0.25) for step in range(1, 9)] == [0, 0, 0, 0, 0, 0, 1, 2]
    assert [steps_averaged(step, 3, 1.0) for step in range(1, 4)] == [1, 2, 3]
    assert [steps_averaged(step, 8, 0.01) for step in (7, 8)] == [0, 1]
    assert not any(steps_averaged(step, 8, 0.0) for step in range(1, 9))
