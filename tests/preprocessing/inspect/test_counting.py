"""Laws of preprocessing/inspect/counting.py."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from preprocessing.errors import DataError
from preprocessing.inspect.counting import SHARE_BINS, Counts, ShardTask, count_shard
from preprocessing.schema import Split
from preprocessing.shards import read_manifest


def task(directory, number=0, one_in=1):
    manifest = read_manifest(directory)
    alone = replace(manifest, splits={"train": Split.of([manifest.splits["train"].shards[number]])})
    return ShardTask(directory, "train", alone, one_in)


def assert_equal(a, b):
    for name, value in vars(a).items():
        np.testing.assert_array_equal(value, getattr(b, name), err_msg=name)


def test_counts_are_those_of_a_loop_over_the_samples(tmp_path, make_random, write_dataset):
    """Every count equals that of plain Python."""
    samples = make_random(300)
    counts = count_shard(task(write_dataset(tmp_path / "data", [samples], [])))
    assert counts.samples == len(samples)
    assert counts.documents == len({document for *_, document in samples})
    assert counts.pairs == sum(boundary < len(tokens) for tokens, boundary, *_ in samples)
    lengths = Counter(len(tokens) for tokens, *_ in samples)
    assert counts.lengths.tolist() == [lengths[length] for length in range(33)]
    assert counts.labels.tolist() == [sum(label == wanted for *_, label, _ in samples) for wanted in (0, 1)]
    shares = Counter(boundary * SHARE_BINS // len(tokens) for tokens, boundary, *_ in samples)
    assert counts.a_shares.tolist() == [shares[place] for place in range(SHARE_BINS)]
    occurrences = Counter(token for tokens, *_ in samples for token in tokens)
    assert counts.tokens.tolist() == [occurrences[token] for token in range(120)]


def test_shards_add_up(tmp_path, make_random, write_dataset):
    """The counts of two shards are those of one shard with the samples of both."""
    first, second = make_random(100, 1), make_random(50, 2, document=50)
    parts = write_dataset(tmp_path / "parts", [first, second], [])
    whole = write_dataset(tmp_path / "whole", [first + second], [])
    total = Counts.total([Counts.none(read_manifest(parts)), *(count_shard(task(parts, number)) for number in (0, 1))])
    assert_equal(total, count_shard(task(whole)))


def test_equal_samples_have_equal_hashes_and_come_together(tmp_path, make_random, write_dataset):
    """Hashes depend on the tokens alone, and a selection of one in k keeps all copies of a sample or none."""
    samples = make_random(200)
    copies = [(tokens, 1, 0, 7) for tokens, *_ in samples]
    directory = write_dataset(tmp_path / "data", [samples + copies], [])
    every = count_shard(task(directory))
    assert every.rows.tolist() == list(range(400))
    np.testing.assert_array_equal(every.hashes[:200], every.hashes[200:])
    assert np.unique(every.hashes).size == len({tuple(tokens) for tokens, *_ in samples})
    some = count_shard(task(directory, one_in=4))
    assert 20 < len(some.rows) < 200
    assert some.rows.tolist() == np.flatnonzero(every.hashes % np.uint64(4) == 0).tolist()


GOOD = ([5, 6, 7, 8], 2, 1, 0)
DAMAGE = {
    "token": ([5, 120, 7], 2, 1, 0),
    "boundary": ([5, 6, 7], 4, 1, 0),
    "label": ([5, 6, 7], 2, 2, 0),
    "length": ([5] * 30, 2, 1, 0),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_what_cannot_be_is_an_error_with_its_place(tmp_path, write_dataset, case):
    """A value that no sample of the dataset may have is an error with shard and row."""
    directory = write_dataset(tmp_path / "data", [[GOOD, GOOD, DAMAGE[case]]], [])
    with pytest.raises(DataError, match=r"train-00000\.arrow: row 2: .* verify"):
        count_shard(task(directory))


def test_damaged_offsets_are_not_followed(tmp_path, write_dataset):
    """Offsets that decrease or exceed the tokens are an error, not a crash."""
    directory = write_dataset(tmp_path / "data", [[GOOD] * 3], [])
    shard = directory / "train-00000.arrow"
    whole = shard.read_bytes()
    offsets = np.array([0, 4, 8, 12], np.int32)
    for wrong in ([0, 9, 8, 12], [0, 4, 8, 2_000], [-4, 4, 8, 12], [0, 4, 8, 30]):
        shard.write_bytes(whole.replace(offsets.tobytes(), np.array(wrong, np.int32).tobytes()))
        with pytest.raises(DataError, match="row"):
            count_shard(task(directory))


def test_a_label_without_a_meaning_is_an_error(tmp_path, write_dataset):
    """A label other than 0 is an error for segments that have no labels."""
    directory = write_dataset(tmp_path / "data", [[GOOD]], [], segments="electra")
    with pytest.raises(DataError, match="row 0"):
        count_shard(task(directory))
