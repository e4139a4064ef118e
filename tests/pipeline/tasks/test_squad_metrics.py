"""Exact match, F1 and the threshold follow SQuAD's definitions."""

import numpy as np
import pytest

from pipeline.tasks.squad_metrics import best_threshold, normalized, score


def test_normalization():
    """Case, punctuation, articles and white space do not count; articles are whole words."""
    assert normalized("  The  U.S. Army's\nbanana; an (A) theme ") == "us armys banana theme"


@pytest.mark.parametrize(
    ("predicted", "answers", "exact", "f1"),
    [
        ("the Denver Broncos!", ["Denver Broncos"], 1, 1),
        ("Denver", ["Denver Broncos", "Broncos"], 0, 2 / 3),
        ("Broncos of Denver", ["Denver Broncos", "Carolina"], 0, 0.8),
        ("red red blue", ["red green"], 0, 0.4),  # a word counts as often as it occurs in both
        ("Carolina", ["Denver"], 0, 0),
        ("", ["Denver"], 0, 0),
        ("", [], 1, 1),
        ("Denver", [], 0, 0),
        ("the", [], 1, 1),  # without articles nothing is left
        ("Denver", ["the", "Denver"], 1, 1),
    ],
)
def test_scores(predicted, answers, exact, f1):
    """The score is that of the gold answer for which it is highest; no answer is right where there is none."""
    assert score(predicted, answers) == (exact, pytest.approx(f1))


@pytest.mark.parametrize(
    ("differences", "answered", "unanswered", "expected"),
    [
        ([-2, 0, 3], [1, 1, 0], [0, 0, 1], 0),  # the first two have an answer
        ([-2, 0, 3], [0, 0, 0], [1, 1, 1], -3),  # none has: below all differences
        ([-2, 0, 3], [1, 1, 1], [0, 0, 0], 3),  # all have
        ([3, -2, 0], [0.5, 1, 0], [0, 0, 1], -2),
        ([0, 0, 1], [1, 0, 0], [0, 1, 1], -1),  # equal differences cannot be divided
    ],
)
def test_the_threshold_has_the_best_score(differences, answered, unanswered, expected):
    """The threshold is the one with the highest sum of scores, when questions above it get no answer."""
    arrays = [np.array(each, np.float64) for each in (differences, answered, unanswered)]
    assert best_threshold(*arrays) == expected
    sums = [np.where(arrays[0] > each, arrays[2], arrays[1]).sum() for each in (expected, *np.arange(-4, 5, 0.5))]
    assert sums[0] == max(sums)
