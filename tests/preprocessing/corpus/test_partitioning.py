"""Laws of preprocessing/corpus/partitioning.py."""

import pytest

from preprocessing.corpus.partitioning import Partitioning, key_of


def test_documents_are_dealt_by_their_text_in_the_wanted_shares():
    """The held-out share is met, partitions have about equal size, and the partition of a text never changes."""
    partitioning = Partitioning(train=4, heldout=2, heldout_share=0.2)
    counts = [0] * 6
    for number in range(20_000):
        counts[partitioning.partition(key_of(b"document %d" % number))] += 1
    assert all(abs(count - 4000) < 250 for count in counts[:4])
    assert all(abs(count - 2000) < 200 for count in counts[4:])
    assert partitioning.partition(key_of(b"document 1")) == 1, "the hash of a document never changes silently"
    assert Partitioning(3, 0, 0.0).partition(key_of(b"x")) in range(3)


@pytest.mark.parametrize(
    ("num_bytes", "share", "expected"),
    [(10, 0.01, (1, 1)), (1000, 0.1, (9, 1)), (1000, 0, (10, 0)), (10_000, 0.2, (80, 20)), (0, 0, (1, 0))],
)
def test_partitions_have_about_the_wanted_size(num_bytes, share, expected):
    """Partitions have about the wanted size; there is at least one for training, and one held out unless the share is
    0.
    """
    partitioning = Partitioning.of(num_bytes, 100, share)
    assert (partitioning.train, partitioning.heldout) == expected
