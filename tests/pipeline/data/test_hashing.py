"""Laws of pipeline/data/hashing.py."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.hashing import Purpose, below, fold, purpose_key

UINT64 = st.integers(0, 2**64 - 1)


def splitmix64(state, number):
    """Compute output `number` of SplitMix64 in plain Python, by advancing the state."""
    for _ in range(number + 1):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
    bits = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB % 2**64
    return bits ^ (bits >> 31)


def test_fold_gives_the_published_outputs():
    """The first outputs for seed 1234567 are those of SplitMix64's reference implementation."""
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert fold(1234567, np.arange(5)).tolist() == expected


@given(UINT64, st.integers(0, 50))
def test_fold_is_splitmix64(key, number):
    """A fold equals the stream that is advanced step by step."""
    assert int(fold(key, number)) == splitmix64(key, number)


@given(st.lists(st.tuples(UINT64, UINT64), min_size=1))
def test_a_number_does_not_depend_on_its_neighbours(pairs):
    """Folding arrays equals folding their elements one by one."""
    keys, counters = (np.array(column, np.uint64) for column in zip(*pairs, strict=True))
    assert fold(keys, counters).tolist() == [int(fold(key, counter)) for key, counter in pairs]


def test_purposes_do_not_share_draws():
    """The same seed gives a different key for each purpose, and a purpose a different key for each seed."""
    keys = {int(purpose_key(seed, purpose)) for seed in range(100) for purpose in Purpose}
    assert len(keys) == 100 * len(Purpose)


@given(UINT64, st.integers(1, 2**32))
def test_below_is_the_upper_half_scaled(bits, bound):
    """The result lies in [0, bound) and is floor(bound * the upper 32 bits / 2^32)."""
    result = int(below(np.array([bits], np.uint64), bound)[0])
    assert result == (bits >> 32) * bound // 2**32
    assert 0 <= result < bound


def test_every_bit_of_every_counter_matters():
    """Flipping one bit of one counter flips about half of the 64 bits of the result."""
    flips = np.uint64(1) << np.arange(40, dtype=np.uint64)
    for base, changed in (
        (fold(fold(7, 0), 0), fold(fold(7, flips), 0)),
        (fold(fold(7, 0), 0), fold(fold(7, 0), flips)),
    ):
        flipped = np.bitwise_count(base ^ changed)
        assert 28 < flipped.mean() < 36
        assert flipped.min() > 12
