"""Counts the contents of one shard of samples; the counts of shards add up to those of a split."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from preprocessing.errors import DataError
from preprocessing.schema import SINGLE_SPECIAL_TOKENS, Manifest
from preprocessing.segments.registry import strategy
from preprocessing.shards import SampleDataset

SHARE_BINS = 20
"""Bins of the histogram of A's share of a pair, each 5% wide."""
_ROWS_AT_ONCE = 16_384
"""Samples whose tokens are copied at a time."""


@dataclass(frozen=True)
class ShardTask:
    """Task of a worker: count one shard."""

    directory: Path
    """The samples directory."""
    split: str
    """Name of the split."""
    manifest: Manifest
    """Manifest of the directory, with this shard only."""
    one_in: int
    """Samples whose hash is divisible by this are compared with each other; equal samples are both included or not."""

    @property
    def path(self) -> Path:
        """Path of the shard."""
        return self.directory / self.manifest.splits[self.split].shards[0].path

    def open(self) -> SampleDataset:
        """Opens the shard as a dataset."""
        return SampleDataset(self.directory, self.split, self.manifest)


@dataclass(frozen=True)
class Counts:
    """Counts of N samples of a dataset with V token ids and samples of at most L tokens."""

    samples: int
    """Number of samples, N."""
    documents: int
    """Number of documents in which samples begin."""
    pairs: int
    """Number of samples with a segment B."""
    lengths: np.ndarray
    """(L + 1,) number of samples with 0 .. L text tokens."""
    labels: np.ndarray
    """(2,) number of samples with each label."""
    a_shares: np.ndarray
    """(SHARE_BINS,) number of pairs by the share of A in their tokens, from 0 to 1."""
    tokens: np.ndarray
    """(V,) number of occurrences of each token."""
    hashes: np.ndarray
    """(H,) uint64 hashes of the tokens of the samples that `ShardTask.one_in` selects."""
    rows: np.ndarray
    """(H,) int64 indices, from 0 to N - 1, of the samples of `hashes`."""

    @staticmethod
    def total(parts: Sequence["Counts"]) -> "Counts":
        """The sum of at least one count, in the order of the samples."""
        starts = np.cumsum([0, *(part.samples for part in parts)])
        return Counts(
            samples=int(starts[-1]),
            documents=sum(part.documents for part in parts),
            pairs=sum(part.pairs for part in parts),
            lengths=np.sum([part.lengths for part in parts], axis=0),
            labels=np.sum([part.labels for part in parts], axis=0),
            a_shares=np.sum([part.a_shares for part in parts], axis=0),
            tokens=np.sum([part.tokens for part in parts], axis=0),
            hashes=np.concatenate([part.hashes for part in parts]),
            rows=np.concatenate([part.rows + start for part, start in zip(parts, starts, strict=False)]),
        )

    @staticmethod
    def none(manifest: Manifest) -> "Counts":
        """The counts of an empty split."""
        return Counts(
            samples=0,
            documents=0,
            pairs=0,
            lengths=np.zeros(manifest.max_seq_length + 1, np.int64),
            labels=np.zeros(2, np.int64),
            a_shares=np.zeros(SHARE_BINS, np.int64),
            tokens=np.zeros(manifest.vocab_size, np.int64),
            hashes=np.zeros(0, np.uint64),
            rows=np.zeros(0, np.int64),
        )


def count_shard(task: ShardTask) -> Counts:
    """Counts one shard.

    Raises:
        DataError: a sample is invalid by the manifest; the message names the shard and the row.
    """
    data = task.open()
    _check_rows(data, task.path)
    is_pair = data.boundaries < data.lengths  # (N,)
    bins = data.boundaries[is_pair].astype(np.int64) * SHARE_BINS // data.lengths[is_pair]
    tokens, hashes = _read_tokens(data, task.path)
    rows = np.flatnonzero(hashes % np.uint64(task.one_in) == 0)
    return Counts(
        samples=len(data),
        documents=np.unique(data.documents).size,
        pairs=int(is_pair.sum()),
        lengths=np.bincount(data.lengths, minlength=data.manifest.max_seq_length + 1),
        labels=np.bincount(data.labels, minlength=2),
        a_shares=np.bincount(bins, minlength=SHARE_BINS),
        tokens=tokens,
        hashes=hashes[rows],
        rows=rows,
    )


def _read_tokens(data: SampleDataset, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(V,) occurrences of each token; (N,) uint64 platform-independent hash of the tokens of each sample."""
    vocab_size = data.manifest.vocab_size
    counts, digests = np.zeros(vocab_size, np.int64), []
    for start in range(0, len(data), _ROWS_AT_ONCE):
        samples = data.tokens(np.arange(start, min(start + _ROWS_AT_ONCE, len(data))))
        sizes = np.array([sample.size for sample in samples])
        _check(sizes == data.lengths[start : start + len(samples)], start, path)
        flat = np.concatenate(samples)
        if flat.max(initial=0) >= vocab_size:
            _check(np.array([sample.max(initial=0) for sample in samples]) < vocab_size, start, path)
        counts += np.bincount(flat, minlength=vocab_size)
        digests += [hashlib.blake2b(sample.data, digest_size=8).digest() for sample in samples]
    return counts, np.frombuffer(b"".join(digests), "<u8")


def _check_rows(data: SampleDataset, path: Path) -> None:
    """Checks lengths, boundaries and labels."""
    lengths, boundaries = data.lengths, data.boundaries
    longest = data.manifest.max_seq_length - SINGLE_SPECIAL_TOKENS - (boundaries < lengths)
    num_labels = max(1, len(strategy(data.manifest.segments).labels))
    _check((lengths <= longest) & (boundaries <= lengths) & (data.labels < num_labels), 0, path)


def _check(valid: np.ndarray, first: int, path: Path) -> None:
    """Checks that all rows, counted from row `first` of the shard, are valid.

    Raises:
        DataError: a row is not.
    """
    if not valid.all():
        raise DataError(
            f"{path}: row {first + int(np.argmin(valid))}: its length, boundary, label or a token is none that the "
            "manifest allows, so the content is damaged; `python -m preprocessing verify` tells which files are"
        )
