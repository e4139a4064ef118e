"""Floors and manifest belong to a checkpoint only if they are those of its samples."""

import json
from hashlib import sha256

import pytest

from pipeline.conversion.card_sections import data_section, plain_source
from pipeline.conversion.provenance import Provenance, manifest_of, provenance_of
from preprocessing.files import sha256_file
from preprocessing.schema import Manifest, Shard, Split

SHARD = Shard("train-00000.arrow", 10, 1234, 99, "ab", {"wikipedia:/a/dumps": 1234})
CONFIG = {
    "extract": {"sources": ["wikipedia:/a/dumps"], "language": "en", "min_chars": 200, "deduplicate": "near"},
    "build": {"segments": "nsp", "weights": []},
}


def write_samples(directory, **fields):
    """Write the manifest of samples, and return its checksum."""
    manifest = Manifest(30522, 128, "nsp", "cd", CONFIG, {"train": Split.of([SHARD])}, **fields)
    directory.mkdir()
    (directory / "manifest.json").write_text(manifest.to_json())
    return sha256_file(directory / "manifest.json")


def state_of(samples, *directories):
    return {
        "samples": samples,
        "recipe": {"data": {"samples": str(directories[-1]), "earlier_samples": directories[:-1]}},
    }


def test_the_manifest_is_that_of_the_training_samples(tmp_path):
    """The manifest is read if its checksum, or that of all manifests, is the one that the checkpoint records."""
    one = write_samples(tmp_path / "one")
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "manifest.json").write_text((tmp_path / "one" / "manifest.json").read_text())
    both = sha256((one + one).encode()).hexdigest()
    assert manifest_of(state_of(one, tmp_path / "one")).max_seq_length == 128
    assert manifest_of(state_of(both, str(tmp_path / "two"), tmp_path / "one")) is not None
    for other in (state_of("ff", tmp_path / "one"), state_of(one, tmp_path / "absent"), {"samples": one}):
        assert manifest_of(other) is None


def test_floors_are_those_of_the_training_samples(tmp_path):
    """The floors of the run's events are read if they were computed on the samples of the checkpoint."""
    event = {"kind": "floors", "time": 1.0, "step": 0, "unigram": 6.0, "unigram_accuracy": 0.1, "context": 5.0}
    event |= {"samples": "ab", "heldout": 512}
    (tmp_path / "events.jsonl").write_text(json.dumps(event) + "\n")
    found = provenance_of(tmp_path / "checkpoints" / "step-00000001", {"samples": "ab"})
    assert (found.floors.context, found.evaluated) == (5.0, 512)
    other = provenance_of(tmp_path / "checkpoints" / "step-00000001", {"samples": "cd"})
    assert (other.floors, other.evaluated) == (None, 0)


def test_the_corpus_and_its_filters():
    """The section of the data has sizes, sources without directories, and the filters that are set."""
    manifest = Manifest(30522, 128, "nsp", "cd", CONFIG, {"train": Split.of([SHARD])})
    section = data_section(Provenance({}, manifest=manifest))
    assert "| train split | 10 samples, 1,234 tokens |" in section and "/a/" not in section
    assert "| Training tokens of wikipedia:dumps | 1,234 |" in section and "| Language | en |" in section
    assert "| Shortest document in characters | 200 |\n" in section and "Longest document" not in section


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("embedded", "embedded"),
        ("books:/a/b.zip", "books:b.zip"),
        ("/a/b/eval.tsv", "eval.tsv"),
        ("file:/a/b/", "file:b"),
    ],
)
def test_sources_are_named_without_directories(name, plain):
    """Directories of this machine are not in a card."""
    assert plain_source(name) == plain
