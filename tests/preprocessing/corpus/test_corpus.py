"""Laws of preprocessing/corpus/corpus.py."""

import numpy as np
import pytest

from preprocessing.corpus.corpus import Corpus, Stored, write_documents
from preprocessing.corpus.partitioning import Partitioning, key_of
from preprocessing.errors import DataError
from preprocessing.files import write_json
from preprocessing.schema import HELDOUT, TRAIN

PARTITIONING = Partitioning(train=2, heldout=1, heldout_share=0.25)
SENTENCES = [
    [[[["A1.", "A2."], ["B1."]], [], [["C1."]]], [[["D1."]], [["E1.", "E2.", "E3."]], []]],
    [],
    [[[], [["F1."]], []]],
]
"""Documents by file, block and partition."""
BLOCKS = [
    [[[Stored(text, key_of(repr(text).encode())) for text in part] for part in block] for block in blocks]
    for blocks in SENTENCES
]


@pytest.fixture
def corpus(tmp_path):
    """A corpus of three files: one of two blocks, one without any, one of one."""
    files = [
        write_documents(tmp_path / f"split-{number:05d}.arrow", blocks, 3, number // 2)
        for number, blocks in enumerate(BLOCKS)
    ]
    made = Corpus(tmp_path, ("text:a", "text:b"), PARTITIONING, tuple(files))
    made.publish()
    return made


def test_a_partition_is_read_across_files_and_blocks(corpus):
    """Each partition gives its documents in the order of the input, from all files and blocks, and counts agree."""
    opened = Corpus.open(corpus.directory)
    assert opened == corpus
    assert [opened.read(partition).to_pylist() for partition in range(3)] == [
        [["A1.", "A2."], ["B1."], ["D1."]],
        [["E1.", "E2.", "E3."], ["F1."]],
        [["C1."]],
    ]
    assert opened.counts == [3, 2, 1]
    assert [opened.sources_of(partition).tolist() for partition in range(3)] == [[0, 0, 0], [0, 1], [0]]
    assert all(size > 0 for size in opened.sizes)
    assert (list(PARTITIONING.partitions(TRAIN)), list(PARTITIONING.partitions(HELDOUT))) == ([0, 1], [2])


def test_the_checksum_is_of_the_content(tmp_path, corpus):
    """A corpus with other documents has another checksum."""
    other = tmp_path / "other"
    other.mkdir()
    Corpus(other, ("text:a",), PARTITIONING, (write_documents(other / "split-00000.arrow", BLOCKS[2], 3, 0),)).publish()
    assert Corpus.open(other).sha256 != Corpus.open(corpus.directory).sha256


def test_damage_is_found(corpus):
    """Opening finds a truncated file, another version and a missing manifest, and `verify` finds a changed byte."""
    path = corpus.directory / "split-00000.arrow"
    data = path.read_bytes()
    path.write_bytes(data.replace(b"A1.", b"A7."))
    with pytest.raises(DataError, match=r"split-00000\.arrow: sha256"):
        Corpus.open(corpus.directory).verify()
    path.write_bytes(data[:-1])
    with pytest.raises(DataError, match=r"split-00000\.arrow: has \d+ bytes"):
        Corpus.open(corpus.directory)
    write_json(corpus.directory / "manifest.json", {"format_version": 9})
    with pytest.raises(DataError, match="format_version is 9"):
        Corpus.open(corpus.directory)
    (corpus.directory / "manifest.json").unlink()
    with pytest.raises(DataError, match=r"no manifest\.json; run `python -m preprocessing extract`"):
        Corpus.open(corpus.directory)


def test_a_file_of_a_manifest_stands_in_its_directory(corpus):
    """A manifest with a file outside of its directory is refused, even if the file there has the right size."""
    path = corpus.directory / "manifest.json"
    path.write_text(path.read_text().replace('"split-00000.arrow"', f'"../{corpus.directory.name}/split-00000.arrow"'))
    with pytest.raises(DataError, match="leaves the directory"):
        Corpus.open(corpus.directory)


@pytest.mark.parametrize("count", [1, 3, 1000])
def test_documents_are_spread_over_a_source(tmp_path, count):
    """`spread` returns documents of one source, without dropped ones, at most `count`, and the same in every call."""
    texts = {source: [[f"{source} {number}"] for number in range(40)] for source in (0, 1)}
    files = []
    for source, documents in texts.items():
        stored = [Stored(document, key_of(document[0].encode())) for document in documents]
        blocks = [[stored[:15], stored[15:20]], [stored[20:21], stored[21:]]]
        files.append(write_documents(tmp_path / f"split-{source}.arrow", blocks, 2, source))
    corpus = Corpus(tmp_path, ("a", "b"), Partitioning(1, 1, 0.5), tuple(files))
    assert [len(list(corpus.spread(source, count))) for source in (0, 1)] == [min(count, 40)] * 2
    assert all(document in texts[1] for document in corpus.spread(1, count))
    assert list(corpus.spread(1, count)) == list(corpus.spread(1, count))
    assert sorted(corpus.spread(0, 1000)) == sorted(texts[0])
    kept = corpus.drop([np.array([0, 16]), np.array([], int)])  # The first of each source, in partition 0.
    assert [len(list(kept.spread(source, 1000))) for source in (0, 1)] == [39, 39]
    assert ["0 0"] not in list(kept.spread(0, 1000))
