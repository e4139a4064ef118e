"""Laws of preprocessing/shards.py."""

import pickle
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from preprocessing.errors import DataError
from preprocessing.files import sha256_file, write_json, write_text
from preprocessing.schema import Manifest, Split
from preprocessing.shards import SampleDataset, sample_batch, write_shard

VOCAB_SIZE = 1000
ROWS = [[7, 5], [4], [11, 3, 6, 2]]
"""Samples per record batch, per shard."""


def random_samples(seed, rows):
    """Return the columns of `rows` samples of 2 to 9 tokens."""
    random = np.random.default_rng(seed)
    lengths = random.integers(2, 10, rows)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    tokens = random.integers(0, VOCAB_SIZE, offsets[-1])
    return tokens, offsets, random.integers(1, lengths), random.integers(0, 2, rows), random.integers(0, 50, rows)


@pytest.fixture
def samples(tmp_path):
    """A samples directory of three shards, and the columns that were written to it."""
    directory = tmp_path / "samples"
    (directory / "tokenizer").mkdir(parents=True)
    write_text(directory / "tokenizer" / "tokenizer.json", "{}")
    columns, shards = [], []
    for number, batches in enumerate(ROWS):
        content = [random_samples(10 * number + part, rows) for part, rows in enumerate(batches)]
        columns += content
        records = [sample_batch(*batch, vocab_size=VOCAB_SIZE) for batch in content]
        shards.append(write_shard(directory / f"train-{number:05d}.arrow", records, VOCAB_SIZE))
    checksum = sha256_file(directory / "tokenizer" / "tokenizer.json")
    splits = {"train": Split.of(shards), "heldout": Split.of([])}
    write_text(directory / "manifest.json", Manifest(VOCAB_SIZE, 16, "nsp", checksum, {}, splits).to_json())
    return directory, columns


def test_what_is_read_is_what_was_written(samples):
    """Each sample and each column equal the input, across record batches and shards, in any order of reading."""
    directory, columns = samples
    dataset = SampleDataset.open(directory, "train")
    expected = [tokens[a:b] for tokens, offsets, *_ in columns for a, b in pairwise(offsets)]
    assert len(dataset) == len(expected) == sum(map(sum, ROWS))
    order = np.random.default_rng(0).permutation(len(dataset))
    assert all(np.array_equal(got, expected[i]) for i, got in zip(order, dataset.tokens(order), strict=True))
    assert dataset.lengths.tolist() == [len(tokens) for tokens in expected]
    for name, column in (("boundaries", 2), ("labels", 3), ("documents", 4)):
        assert getattr(dataset, name).tolist() == np.concatenate([batch[column] for batch in columns]).tolist()
    assert (dataset.lengths.dtype, dataset.boundaries.dtype) == (np.int32, np.uint16)
    assert (dataset.labels.dtype, dataset.documents.dtype) == (np.uint8, np.uint32)
    assert dataset.manifest.splits["train"].tokens == dataset.lengths.sum()


def test_reading_copies_nothing(samples):
    """A sample shares its memory with the mapped shard and is read-only."""
    dataset = SampleDataset.open(samples[0], "train")
    first, again = dataset.tokens(np.array([3, 3]))
    assert np.shares_memory(first, again)
    assert not first.flags.writeable


def test_a_pickled_dataset_reopens_its_maps(samples):
    """The pickle of a dataset has no data, and reads the same after unpickling."""
    dataset = SampleDataset.open(samples[0], "train")
    data = pickle.dumps(dataset)
    assert len(data) < 3000
    copy, indices = pickle.loads(data), np.arange(len(dataset))
    assert all(map(np.array_equal, copy.tokens(indices), dataset.tokens(indices)))


def test_an_empty_split_is_a_dataset_of_no_samples(samples):
    """A split without shards is a dataset with empty columns of the right types."""
    dataset = SampleDataset.open(samples[0], "heldout")
    assert len(dataset) == 0
    assert dataset.lengths.dtype == np.int32 and dataset.documents.dtype == np.uint32


@pytest.mark.parametrize("index", [-1, sum(map(sum, ROWS))])
def test_an_index_outside_the_dataset_is_an_error(samples, index):
    """A negative index, and N, are errors."""
    with pytest.raises(IndexError, match="must lie in"):
        SampleDataset.open(samples[0], "train").tokens(np.array([index]))


def test_a_shard_cut_short_is_refused_when_opening(samples):
    """A shard of the wrong size is found without reading it, and the message names file and sizes."""
    path = samples[0] / "train-00001.arrow"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DataError, match=r"train-00001\.arrow: has \d+ bytes, the manifest says \d+"):
        SampleDataset.open(samples[0], "train")


def test_a_missing_shard_is_refused(samples):
    """A missing shard is an error that names it."""
    (samples[0] / "train-00002.arrow").unlink()
    with pytest.raises(DataError, match=r"train-00002\.arrow: missing"):
        SampleDataset.open(samples[0], "train")


def test_a_flipped_byte_is_found_by_verify(samples):
    """`verify` names the damaged shard and no other."""
    path = samples[0] / "train-00001.arrow"
    data = bytearray(path.read_bytes())
    tokens = SampleDataset.open(samples[0], "train").tokens(np.array([sum(ROWS[0])]))[0]
    data[data.index(tokens.tobytes())] ^= 1
    path.write_bytes(data)
    dataset = SampleDataset.open(samples[0], "train")
    dataset.verify([0, 2])
    with pytest.raises(DataError, match=r"train-00001\.arrow: sha256"):
        dataset.verify()


def test_damaged_arrow_metadata_is_an_error_or_harmless(samples):
    """A changed bit anywhere in a shard gives DataError, or no error, when the dataset is opened."""
    directory, _ = samples
    shard = directory / "train-00001.arrow"
    whole = shard.read_bytes()
    refused = 0
    for place in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        shard.write_bytes(damaged)
        try:
            SampleDataset.open(directory, "train")
        except DataError as error:
            refused += 1
            assert "train-00001.arrow: " in str(error)
    assert 50 < refused < len(whole) // 3


@pytest.mark.parametrize("function", ["sha256_file", "pa.memory_map", "os.stat"])
def test_what_cannot_be_read_is_not_called_damaged(samples, monkeypatch, function):
    """A file without read permission says nothing about its content, so the error does not advise to remove or rebuild
    it.
    """

    def refuse(path, **_options):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(f"preprocessing.shards.{function}", refuse)
        with pytest.raises(OSError, match=r"(arrow|json): cannot be read \(Permission denied\)") as caught:
            SampleDataset.open(samples[0], "train").check_whole(np.array([0]))
    assert "its content may be sound" in str(caught.value) and "remove" not in str(caught.value)


def test_another_tokenizer_is_refused(samples):
    """Shards beside another tokenizer than the one that made them are an error."""
    write_text(samples[0] / "tokenizer" / "tokenizer.json", '{"other": 1}')
    with pytest.raises(DataError, match=r"tokenizer\.json: sha256 .* another tokenizer"):
        SampleDataset.open(samples[0], "train")


def test_a_manifest_of_another_version_is_refused(samples):
    """A manifest of another version is an error that names both versions."""
    write_json(samples[0] / "manifest.json", {"format_version": 7})
    with pytest.raises(DataError, match=r"manifest\.json: format_version is 7, this version reads 2"):
        SampleDataset.open(samples[0], "train")


def test_a_directory_without_manifest_or_split_is_refused(samples, tmp_path):
    """An unfinished directory and an unknown split are errors that state what is there."""
    with pytest.raises(DataError, match=r"no manifest\.json"):
        SampleDataset.open(tmp_path, "train")
    with pytest.raises(DataError, match="no split 'test'; it has heldout, train"):
        SampleDataset.open(samples[0], "test")


@pytest.mark.parametrize(
    ("change", "message"),
    [({"vocab_size": 70000}, "Arrow schema is"), ({"rows": 5}, "has 4 samples, the manifest says 5")],
)
def test_a_shard_that_does_not_fit_the_manifest_is_refused(samples, change, message):
    """Schema and number of rows are compared with the manifest when a shard is opened."""
    path = samples[0] / "manifest.json"
    manifest = Manifest.from_json(path.read_text(), path)
    if "rows" in change:
        shards = list(manifest.splits["train"].shards)
        shards[1] = replace(shards[1], **change)
        manifest = replace(manifest, splits={**manifest.splits, "train": Split.of(shards)})
    else:
        manifest = replace(manifest, **change)
    write_text(path, manifest.to_json())
    with pytest.raises(DataError, match=message):
        SampleDataset.open(samples[0], "train")


def test_a_failed_write_leaves_no_shard(tmp_path):
    """An error between two batches leaves the directory as it was."""

    def batches():
        yield sample_batch(*random_samples(0, 3), vocab_size=VOCAB_SIZE)
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_shard(tmp_path / "train-00000.arrow", batches(), VOCAB_SIZE)
    assert list(tmp_path.iterdir()) == []
