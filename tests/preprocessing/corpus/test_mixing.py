"""Laws of preprocessing/corpus/mixing.py."""

from math import ceil, floor

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.corpus.mixing import occurrences
from preprocessing.segments.layout import random_numbers

WEIGHTS = st.lists(st.integers(0, 12).map(lambda quarters: quarters / 4), max_size=20)
"""Quarters are exact in floating point."""


@given(WEIGHTS, st.integers(1, 7), st.integers(0, 99))
def test_after_any_number_of_passes_a_document_was_taken_its_weight_times(weights, passes, seed):
    """After any number of passes, each document was taken its weight times the passes to within one, whatever the
    random phases are.
    """
    taken = [occurrences(np.array(weights), number, random_numbers(seed)) for number in range(passes)]
    counts = np.bincount(np.concatenate(taken), minlength=len(weights))
    assert all(floor(passes * w) <= count <= ceil(passes * w) for w, count in zip(weights, counts, strict=True))


def test_whole_weights_leave_nothing_to_chance():
    """A weight of 1 takes each document once in order, and the occurrences of one document are never next to each
    other.
    """
    assert occurrences(np.ones(4), 3, random_numbers(1)).tolist() == [0, 1, 2, 3]
    assert occurrences(np.array([2.0, 1, 0, 3]), 0, random_numbers(1)).tolist() == [0, 1, 3, 0, 3, 3]


def test_a_half_is_another_half_in_the_next_pass():
    """Half of the documents are taken in one pass and the other half in the next; 50 is the binomial's standard
    deviation.
    """
    first, second = (occurrences(np.full(10_000, 0.5), number, random_numbers(1)) for number in (0, 1))
    assert abs(len(first) - 5000) < 200
    assert sorted([*first.tolist(), *second.tolist()]) == list(range(10_000))
