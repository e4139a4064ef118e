"""Laws of preprocessing/segments/pairs.py."""

from hypothesis import given
from hypothesis import strategies as st

from preprocessing.segments.layout import random_numbers
from preprocessing.segments.pairs import target_length, truncate, truncated_lengths


def test_short_targets_have_their_share_and_are_uniform():
    """A tenth of the targets is drawn, uniformly over 2 .. limit, and the others are the limit."""
    random = random_numbers(0)
    share = sum(target_length(2**40, 0.1, random) < 2**40 for _ in range(10_000)) / 10_000
    assert abs(share - 0.1) < 0.01
    targets = [target_length(11, 1, random) for _ in range(2000)]
    # 10 cells of 200 expected; the chi-square statistic with 9 degrees of freedom exceeds 27.9 once in 1000.
    assert set(targets) == set(range(2, 12))
    assert sum((targets.count(length) - 200) ** 2 / 200 for length in set(targets)) < 27.9


@given(st.integers(1, 60), st.integers(1, 60), st.integers(2, 60))
def test_lengths_after_truncation_equal_those_of_the_loop(a, b, limit):
    """The closed form equals taking one token at a time from the longer segment, and from B if they are equal."""
    left = [a, b]
    while sum(left) > limit:
        left[0 if left[0] > left[1] else 1] -= 1
    assert truncated_lengths(a, b, limit) == tuple(left)


def test_truncation_takes_from_front_and_back_alike():
    """Of 20 tokens to be cut, the number from the front is binomial with mean 10 and variance 5."""
    random = random_numbers(0)
    fronts = [truncate((0, 30), (100, 110), 20, random)[0] for _ in range(4000)]
    mean = sum(fronts) / len(fronts)
    assert abs(mean - 10) < 0.15
    assert abs(sum((front - mean) ** 2 for front in fronts) / len(fronts) - 5) < 0.5
