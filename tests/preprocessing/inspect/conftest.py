"""Samples directories with given samples, for tests."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from samples import write_tokenizer

from preprocessing.files import sha256_file, write_text
from preprocessing.inspect.figures import SamplesFigures
from preprocessing.inspect.measure import measure
from preprocessing.schema import MANIFEST_NAME, TOKENIZER_DIRECTORY, Manifest, Split
from preprocessing.shards import sample_batch, write_shard
from preprocessing.workers import SerialExecutor

VOCAB_SIZE = 120
MAX_SEQ_LENGTH = 32
Sample = tuple[list[int], int, int, int]
"""Tokens, boundary, label, document."""


def random_samples(number: int, seed: int = 0, document: int = 0) -> list[Sample]:
    """Return pairs of most lengths with both labels, about two to a document, without special tokens."""
    rng = np.random.default_rng(seed)
    found = []
    for index in range(number):
        tokens = rng.integers(5, VOCAB_SIZE, rng.integers(2, MAX_SEQ_LENGTH - 2)).tolist()
        found.append((tokens, int(rng.integers(1, len(tokens))), int(rng.integers(2)), document + index // 2))
    return found


def write_shards(directory: Path, split: str, shards: list[list[Sample]]) -> Split:
    """Write one shard of each list."""
    written = []
    for number, samples in enumerate(shards):
        tokens, boundaries, labels, documents = zip(*samples, strict=True)
        batch = sample_batch(
            np.concatenate(tokens).astype(np.uint16),
            np.cumsum([0, *map(len, tokens)]),
            np.array(boundaries),
            np.array(labels),
            np.array(documents),
            VOCAB_SIZE,
        )
        written.append(write_shard(directory / f"{split}-{number:05d}.arrow", [batch], VOCAB_SIZE))
    return Split.of(written)


def write_dataset_in(
    directory: Path, train: list[list[Sample]], heldout: list[list[Sample]], segments: str = "nsp", **config: dict
) -> Path:
    """Write a samples directory with these samples, shard by shard."""
    directory.mkdir(parents=True)
    write_tokenizer(directory / TOKENIZER_DIRECTORY, VOCAB_SIZE)
    splits = {"train": write_shards(directory, "train", train), "heldout": write_shards(directory, "heldout", heldout)}
    checksum = sha256_file(directory / TOKENIZER_DIRECTORY / "tokenizer.json")
    manifest = Manifest(VOCAB_SIZE, MAX_SEQ_LENGTH, segments, checksum, config, splits)
    write_text(directory / MANIFEST_NAME, manifest.to_json())
    return directory


@pytest.fixture
def make_random() -> Callable[..., list[Sample]]:
    """The function that returns random samples."""
    return random_samples


@pytest.fixture
def write_dataset() -> Callable[..., Path]:
    """The function that writes a samples directory."""
    return write_dataset_in


@pytest.fixture
def figures_of(tmp_path: Path) -> Callable[..., SamplesFigures]:
    """The function that writes a samples directory and measures it."""

    def measured(train: list[Sample], heldout: list[Sample], segments: str = "nsp", **config: dict) -> SamplesFigures:
        shards = ([samples] if samples else [] for samples in (train, heldout))
        directory = write_dataset_in(tmp_path / "samples", *shards, segments=segments, **config)
        return measure(directory, 2, SerialExecutor())

    return measured
