"""Laws of pipeline/data/schedule.py: batch size, samples directory and position of every step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.config import MaskingConfig
from pipeline.data.schedule import DataSchedule, Stage, mask_rate, progress


@st.composite
def schedules(draw):
    unit, multiples, total = draw(st.integers(1, 8)), draw(st.integers(1, 9)), draw(st.integers(1, 60))
    until = sorted(set(draw(st.lists(st.floats(0.01, 0.99), max_size=2))))
    lengths = draw(st.lists(st.integers(8, 64), min_size=len(until) + 1, max_size=len(until) + 1))
    growth = draw(st.floats(0.05, 1.0))
    scaled = draw(st.booleans())
    return DataSchedule(total, unit * multiples, tuple(lengths), tuple(until), unit, growth, scaled)


@given(schedules())
def test_positions_are_the_sums_of_the_steps_before(schedule):
    """The stages cover each step once, and a step continues in its directory where the steps before it ended."""
    assert [step for stage in schedule.stages for step in range(stage.first, stage.last + 1)] == list(
        range(1, schedule.total_steps + 1)
    )
    consumed, total = [0] * len(schedule.lengths), 0
    for step in range(1, schedule.total_steps + 1):
        stage = schedule.stage(step)
        assert schedule.consumed(step - 1) == total
        assert stage.consumed + (step - stage.first) * stage.batch_size == consumed[stage.dataset]
        assert schedule.batch_size(step) == stage.batch_size
        assert schedule.sequence_length(step) == schedule.lengths[stage.dataset]
        consumed[stage.dataset] += stage.batch_size
        total += stage.batch_size
    assert schedule.consumed(schedule.total_steps) == total


@given(schedules())
def test_sizes_are_multiples_of_the_first_and_never_fall(schedule):
    """Sizes are multiples of the first one and never decrease, and all steps after the growth have the last one."""
    sizes = [stage.batch_size // stage.scale for stage in schedule.stages]
    assert sizes == sorted(sizes) and sizes[0] == schedule.global_batch_size_start
    assert all(size % schedule.global_batch_size_start == 0 for size in sizes)
    for step in range(1, schedule.total_steps + 1):
        stage = schedule.stage(step)
        if (step - 1) / schedule.total_steps >= schedule.growth_proportion:
            assert stage.batch_size == schedule.global_batch_size * stage.scale


def test_a_constant_run_has_one_stage():
    """Without options, each step reads the samples that follow those of the steps before."""
    schedule = DataSchedule(8, 24, (128,))
    assert schedule.stages == (Stage(1, 8, 0, 24, 1, 0),)
    assert schedule.consumed(3) == 72


def test_growth_by_hand():
    """Growth from 4 to 16 over half of 12 steps gives each size two steps, and the last size all others."""
    schedule = DataSchedule(12, 16, (128,), global_batch_size_start=4, growth_proportion=0.5)
    assert [schedule.batch_size(step) for step in range(1, 13)] == [4, 4, 8, 8, 12, 12] + [16] * 6


def test_directories_by_hand():
    """Shorter samples are read for 30 % and 50 % of 10 steps; with scaling, all steps have as many tokens."""
    plain = DataSchedule(10, 6, (64, 128, 512), (0.3, 0.8))
    assert [plain.sequence_length(step) for step in range(1, 11)] == [64] * 3 + [128] * 5 + [512] * 2
    assert {plain.batch_size(step) for step in range(1, 11)} == {6}
    scaled = DataSchedule(10, 6, (64, 128, 512), (0.3, 0.8), scale_with_length=True)
    assert [scaled.batch_size(step) for step in range(1, 11)] == [48] * 3 + [24] * 5 + [6] * 2
    assert [stage.consumed for stage in scaled.stages] == [0, 0, 0]


def test_the_fraction_of_a_step():
    """The fraction of step 1 is the first one, and each later step changes it by the same amount."""
    masking = MaskingConfig(0.1, 0.5)
    assert [mask_rate(step, masking, 4) for step in (1, 2, 3, 4)] == pytest.approx([0.5, 0.4, 0.3, 0.2])


def test_the_mean_size_counts_tokens():
    """A batch that grows evenly has half its final size on average, and samples of half the length count half."""
    constant = DataSchedule(100, 64, (128,))
    assert constant.mean_size([90.0]) == 1.0
    growing = DataSchedule(1000, 64, (128,), global_batch_size_start=1)
    assert growing.mean_size([90.0]) == pytest.approx(0.5, abs=0.02)
    shorter = DataSchedule(100, 64, (64, 128), until=(0.5,))
    assert shorter.mean_size([45.0, 90.0]) == pytest.approx(0.75)
    as_many_tokens = DataSchedule(100, 64, (64, 128), until=(0.5,), scale_with_length=True)
    assert as_many_tokens.mean_size([45.0, 90.0]) == pytest.approx(1.0)


def test_the_mean_progress_is_that_of_an_average_token():
    """The mean over all tokens of the share of the run before their step: about half of it for equal steps, and later
    where steps grow.
    """
    for schedule, tokens in (
        (DataSchedule(100, 64, (128,)), [90.0]),
        (DataSchedule(12, 16, (128,), global_batch_size_start=4, growth_proportion=0.5), [90.0]),
        (DataSchedule(10, 6, (64, 128), (0.3,)), [45.0, 90.0]),
    ):
        read = [
            (
                schedule.stage(step).batch_size * tokens[schedule.stage(step).dataset],
                progress(step, schedule.total_steps),
            )
            for step in range(1, schedule.total_steps + 1)
        ]
        expected = sum(size * share for size, share in read) / sum(size for size, _ in read)
        assert schedule.mean_progress(tokens) == pytest.approx(expected)
    assert DataSchedule(1000, 64, (128,), global_batch_size_start=1).mean_progress([90.0]) == pytest.approx(
        2 / 3, abs=0.01
    )
