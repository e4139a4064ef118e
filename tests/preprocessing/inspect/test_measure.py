"""Laws of preprocessing/inspect/measure.py."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from preprocessing.errors import DataError
from preprocessing.inspect import measure as module
from preprocessing.inspect.measure import SplitReader, measure, spread
from preprocessing.shards import SampleDataset, read_manifest
from preprocessing.tokenizer.saving import load_tokenizer
from preprocessing.workers import SerialExecutor


@pytest.fixture
def directory(tmp_path, make_random, write_dataset):
    """A samples directory of seven shards of training and two held out."""
    train = [make_random(20 + number, number, 100 * number) for number in range(7)]
    heldout = [make_random(10, 10, 1000), make_random(5, 11, 2000)]
    return write_dataset(tmp_path / "data", train, heldout)


def source(directory, max_tokens):
    return SplitReader(
        directory, read_manifest(directory), "train", load_tokenizer(directory / "tokenizer"), max_tokens
    )


def test_every_sample_is_counted(directory):
    """The counts of both splits agree with the manifest."""
    figures = measure(directory, 2, SerialExecutor())
    for split in figures.splits:
        assert split.shards_read == len(split.listed.shards)
        assert (split.counts.samples, split.tokens) == (split.listed.rows, split.listed.tokens)
        assert split.compared == split.listed.rows


def test_the_executor_changes_nothing(directory, monkeypatch):
    """The figures of several workers are those of one."""
    monkeypatch.setattr(module, "_TOKENS_READ_HERE", 0)
    alone = measure(directory, 2, SerialExecutor())
    with ThreadPoolExecutor(3) as executor:
        together = measure(directory, 2, executor)
    for a, b in zip(alone.splits, together.splits, strict=True):
        assert (a.frequent, a.examples, a.repeated) == (b.frequent, b.examples, b.repeated)
        np.testing.assert_array_equal(a.counts.tokens, b.counts.tokens)
        np.testing.assert_array_equal(a.counts.hashes, b.counts.hashes)


def test_a_large_split_is_read_in_evenly_spread_shards(directory):
    """About as many tokens as allowed are read in evenly spread shards, the first and the last included, but at least
    one shard.
    """
    tokens = read_manifest(directory).splits["train"].tokens
    assert source(directory, tokens).chosen.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert source(directory, tokens // 2).chosen.tolist() == [0, 3, 6]
    assert source(directory, 1).chosen.tolist() == [0]


@pytest.mark.parametrize("share", [1, 0.5])
def test_rows_that_were_read_are_found_again(directory, share):
    """`index` of the rows read runs through the chosen shards, and `example` shows what the dataset has there."""
    data = SampleDataset.open(directory, "train")
    part = source(directory, int(share * read_manifest(directory).splits["train"].tokens))
    rows = [part.shards[number].rows for number in part.chosen]
    starts = part.first_rows[part.chosen]
    expected = [start + row for start, count in zip(starts, rows, strict=True) for row in range(count)]
    assert [part.index(row) for row in range(sum(rows))] == expected
    for index in expected[::10]:
        shown = part.example(index)
        ids = [piece.id for segment in (shown.a, shown.b) if segment for piece in segment.pieces]
        assert ids == data.tokens(np.array([index]))[0].tolist()
        assert (shown.index, shown.document) == (index, data.documents[index])


def test_repeated_samples_are_counted_and_shown(figures_of, make_random):
    """Repeated samples are shown with the most frequent first, each with its count; single samples are not."""
    unique = [sample for sample in make_random(40) if len(sample[0]) > 6]
    samples = [*unique, *[([5, 6, 7], 1, 0, 50)] * 4, *[([9, 8], 1, 0, 51)] * 2]
    train = figures_of(samples, make_random(5, 3)).splits[0]
    assert [(r.count, [p.id for s in (r.example.a, r.example.b) for p in s.pieces]) for r in train.repeated] == [
        (4, [5, 6, 7]),
        (2, [9, 8]),
    ]
    assert train.repeated[0].example.index == len(unique)
    assert train.repeated_share == pytest.approx(4 / len(samples))


def test_the_share_of_repeated_samples_is_estimated_without_bias(directory, monkeypatch, make_random, write_dataset):
    """The share of repeated samples is not changed by comparing one in k samples, since the choice is by hash; a choice
    by row would lower it.
    """
    samples = make_random(2000)
    place = write_dataset(directory.parent / "twice", [samples + samples], [make_random(5, 1)])
    monkeypatch.setattr(module, "_SAMPLES_COMPARED", 1000)
    train = measure(place, 0, SerialExecutor()).splits[0]
    assert 500 < train.compared < 1100
    assert train.repeated_share == pytest.approx(0.5, abs=0.02)


def test_held_out_samples_that_training_has_are_counted(figures_of, make_random):
    """Two of ten held-out samples that training also has make a share of 0.2."""
    train, heldout = make_random(50), make_random(10, 9)
    train = [*train, *heldout[:2]]
    assert figures_of(train, heldout).heldout_in_train == pytest.approx(0.2)


def test_the_most_frequent_tokens_lead(figures_of, make_random):
    """The most frequent tokens are listed with their counts, without those that never occur."""
    samples, few = make_random(100), [([6, 5, 6], 1, 0, 0)]
    occurrences = Counter(token for tokens, *_ in samples for token in tokens)
    train, heldout = figures_of(samples, few).splits
    assert [count for _, count in train.frequent] == sorted(occurrences.values(), reverse=True)[:20]
    assert heldout.frequent == [("w1", 2), ("##p0", 1)]


def test_a_damaged_directory_is_an_error(directory):
    """A truncated shard and a missing tokenizer are errors."""
    shard = directory / "heldout-00001.arrow"
    shard.write_bytes(shard.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"heldout-00001\.arrow: has .* bytes"):
        measure(directory, 1, SerialExecutor())
    (directory / "tokenizer" / "tokenizer.json").unlink()
    with pytest.raises(DataError, match=r"tokenizer\.json: missing"):
        measure(directory, 1, SerialExecutor())


def test_a_strategy_of_a_later_version_is_an_error(directory):
    """A strategy of a later version, whose labels would have no meaning, is an error."""
    manifest = directory / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"nsp"', '"new"'))
    with pytest.raises(DataError, match="segments = 'new': must be one of nsp"):
        measure(directory, 1, SerialExecutor())


def test_spread_takes_first_and_last():
    """`spread` chooses evenly, the first and the last included, and never more than there are."""
    assert spread(10, 3).tolist() == [0, 4, 9]
    assert spread(2, 5).tolist() == [0, 1]
    assert spread(0, 5).tolist() == spread(5, 0).tolist() == []
