"""Laws of pipeline/data/order.py."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.order import deal, global_batch, permute

SEED = st.integers(0, 2**64 - 1)


def chi_square(counts):
    """Return Pearson's statistic of counts against the uniform distribution."""
    return float(((counts - counts.mean()) ** 2 / counts.mean()).sum())


@given(st.integers(1, 3000), st.integers(0, 2**40), SEED)
def test_an_epoch_visits_every_sample_once(size, epoch, seed):
    """For every dataset size, epoch and seed the order is a bijection."""
    assert np.array_equal(np.sort(permute(np.arange(size), epoch, size, seed)), np.arange(size))


@pytest.mark.parametrize("size", [4, 9, 16, 17, 256, 10_007])
def test_an_epoch_visits_every_sample_once_at_the_edges(size):
    """The order is a bijection also for squares, for one more than a square, and for primes."""
    assert len(set(permute(np.arange(size), 3, size, 5).tolist())) == size


def test_a_position_needs_no_other_position():
    """The sample at a position does not depend on the other positions and epochs that are computed with it."""
    positions, epochs = np.arange(100) * 7 % 100, np.arange(100) % 3
    together = permute(positions, epochs, 100, 11)
    alone = [permute([position], [epoch], 100, 11)[0] for position, epoch in zip(positions, epochs, strict=True)]
    assert together.tolist() == alone


def test_huge_datasets_need_no_memory():
    """Positions of a dataset of 2^40 samples map to distinct samples inside it."""
    size = 2**40 + 1
    indices = permute(np.arange(size - 5000, size), 2, size, 0)
    assert indices.min() >= 0
    assert indices.max() < size
    assert len(set(indices.tolist())) == 5000


def orders_of(size, epochs):
    """Return the orders of many epochs, (epochs, size)."""
    return permute(np.tile(np.arange(size), epochs), np.repeat(np.arange(epochs), size), size, 1).reshape(epochs, size)


@pytest.mark.parametrize(("size", "num_orders"), [(2, 2), (3, 6), (4, 24)])
def test_tiny_orders_are_equally_likely(size, num_orders):
    """Over the epochs, every permutation of a few samples occurs equally often."""
    _, counts = np.unique(orders_of(size, 20_000), axis=0, return_counts=True)
    assert len(counts) == num_orders
    assert chi_square(counts) < num_orders - 1 + 4 * (2 * (num_orders - 1)) ** 0.5


@pytest.mark.parametrize("size", [6, 7, 10, 13, 30])
def test_pairs_are_equally_likely(size):
    """Over the epochs, two positions hold every ordered pair of samples equally often."""
    orders = orders_of(size, 20_000)
    for first, second in ((0, 1), (0, size - 1), (size // 2, size // 2 - 1)):
        pairs = np.bincount(orders[:, first] * size + orders[:, second], minlength=size**2).reshape(size, size)
        counts = pairs[~np.eye(size, dtype=bool)]
        assert chi_square(counts) < len(counts) + 4 * (2 * len(counts)) ** 0.5


def test_every_sample_is_equally_likely_at_a_position():
    """Over the seeds, a position of the epoch holds every part of the dataset equally often."""
    for found in np.stack([permute([0, 1, 500, 999], 0, 1000, seed) for seed in range(3000)], axis=1):
        assert chi_square(np.bincount(found // 50, minlength=20)) < 19 + 4 * 38**0.5


def test_neighbours_are_unrelated():
    """Neither a position and its sample, nor the samples of neighbouring positions, are correlated."""
    size = 40_000
    order = permute(np.arange(size), 0, size, 0)
    assert abs(np.corrcoef(order, np.arange(size))[0, 1]) < 0.02
    assert abs(np.corrcoef(order[1:], order[:-1])[0, 1]) < 0.02
    steps = np.diff(order) % size
    assert chi_square(np.bincount(steps * 20 // size, minlength=20)) < 19 + 4 * 38**0.5


def test_epochs_and_seeds_differ():
    """Two epochs, or two seeds, agree at no more positions than two random orders (one on average)."""
    size = 10_000
    first = permute(np.arange(size), 0, size, 0)
    assert (first == permute(np.arange(size), 1, size, 0)).sum() < 8
    assert (first == permute(np.arange(size), 0, size, 1)).sum() < 8


def test_the_order_never_changes_silently():
    """These orders hold on every machine and in every version, since every checkpoint depends on them."""
    assert permute(np.arange(10), 0, 10, 0).tolist() == [9, 7, 4, 0, 3, 2, 6, 1, 8, 5]
    assert permute(np.arange(10), 1, 10, 0).tolist() == [4, 3, 8, 9, 0, 7, 1, 6, 2, 5]
    assert permute([0, 1, 2**39], [0, 7, 9], 2**40, 12345).tolist() == [120806386136, 634263783792, 455969276741]


def test_batches_cover_epochs_without_gap():
    """Batches of any size, one after the other, are the epochs one after the other; a batch may extend over several
    epochs.
    """
    size, seed = 10, 4
    batches = [global_batch(consumed, 7, size, seed) for consumed in range(0, 70, 7)]
    epochs = np.concatenate([batch.epochs for batch in batches])
    indices = np.concatenate([batch.indices for batch in batches])
    assert epochs.tolist() == np.repeat(np.arange(7), size).tolist()
    assert all(sorted(indices[epochs == epoch].tolist()) == list(range(size)) for epoch in range(7))
    whole = global_batch(0, 70, size, seed)
    assert np.array_equal(whole.indices, indices)
    assert np.array_equal(whole.epochs, epochs)


LENGTHS = st.integers(1, 12).flatmap(
    lambda groups: st.tuples(
        st.integers(1, 9).flatmap(
            lambda rounds: st.lists(st.integers(3, 512), min_size=groups * rounds, max_size=groups * rounds)
        ),
        st.just(groups),
    )
)


@given(LENGTHS)
def test_dealing_is_fair(case):
    """Each sample is dealt to one group, all groups have equally many, and the tokens of two groups differ by no more
    than those of two samples.
    """
    lengths, num_groups = np.array(case[0], np.int32), case[1]
    groups = deal(lengths, num_groups)
    assert groups.shape == (num_groups, len(lengths) // num_groups)
    assert sorted(groups.ravel().tolist()) == list(range(len(lengths)))
    sums = lengths[groups].sum(axis=1)
    assert sums.max() - sums.min() <= lengths.max() - lengths.min()


def test_the_longest_goes_to_the_smallest_sum():
    """In a hand-made deal, the second round goes against the first, and equal lengths keep the order of the batch."""
    assert deal(np.array([5, 9, 1, 7, 9, 2]), 3).tolist() == [[1, 5], [4, 2], [3, 0]]
    assert deal(np.full(4, 8), 2).tolist() == [[0, 2], [1, 3]]


def test_a_batch_that_cannot_be_dealt_evenly_is_our_mistake():
    """Sizes are checked where the user sets them, so a batch that cannot be dealt evenly is an assertion error here."""
    with pytest.raises(AssertionError, match="7 samples cannot be dealt evenly to 2 groups"):
        deal(np.ones(7, np.int32), 2)
