"""Extracted documents on disk, stored so that a partition of them can be read alone.

A document belongs to the partition that a hash of its text names, whatever split of the input it was found in. Each split
becomes one Arrow file whose record batches go round the partitions, so that the build of a partition touches its
own batches only and its memory is bounded by the partition. Documents are lists of sentences. Partitions are random
samples of the corpus, and equal documents share one: none is both in `train` and in `heldout`.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from preprocessing.errors import DataError
from preprocessing.files import atomic_path, read_json, sha256_file
from preprocessing.schema import FORMAT_VERSION, HELDOUT, MANIFEST_NAME, TRAIN
from preprocessing.shards import check_size, check_sum

_SENTENCES = pa.list_(pa.string())
_SCHEMA = pa.schema([pa.field("sentences", _SENTENCES, nullable=False)])


@dataclass(frozen=True)
class Partitioning:
    """How documents are dealt to partitions: numbers 0 .. train - 1 for training, then those held out."""

    train: int
    """Number of training partitions."""
    heldout: int
    """Number of held-out partitions; 0: nothing is held out."""
    heldout_share: float
    """Share of the documents held out."""

    @staticmethod
    def of(num_bytes: int, partition_bytes: int, heldout_share: float) -> "Partitioning":
        """Partitions of about `partition_bytes` bytes of text each."""
        heldout_bytes = num_bytes * heldout_share
        train = max(1, round((num_bytes - heldout_bytes) / partition_bytes))
        return Partitioning(train, max(heldout_share > 0, round(heldout_bytes / partition_bytes)), heldout_share)

    def __len__(self) -> int:
        return self.train + self.heldout

    def partition(self, text: bytes) -> int:
        """The partition of a document, by a hash of its text."""
        digest = hashlib.blake2b(text, digest_size=16).digest()
        number = int.from_bytes(digest[8:])
        if int.from_bytes(digest[:8]) < self.heldout_share * 2**64:
            return self.train + number % self.heldout
        return number % self.train

    def partitions(self, split: str) -> range:
        """The partitions of `train` or `heldout`."""
        return {TRAIN: range(self.train), HELDOUT: range(self.train, len(self))}[split]


def write_documents(path: Path, blocks: Iterable[list[list[list[str]]]]) -> dict:
    """Writes one split: per block, the documents (lists of sentences) of each partition.

    A block bounds the memory of the writer; most splits have one.

    Returns:
        The file's entry for the manifest.
    """
    counts: list[int] | np.ndarray = 0  # type: ignore[assignment]
    with atomic_path(path) as temporary:
        with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, _SCHEMA) as writer:
            for block in blocks:
                counts = np.array([len(documents) for documents in block]) + counts
                for documents in block:
                    writer.write_batch(pa.record_batch([pa.array(documents, _SENTENCES)], schema=_SCHEMA))
        size, checksum = temporary.stat().st_size, sha256_file(temporary)
    return {"path": path.name, "documents": np.asarray(counts).tolist(), "bytes": size, "sha256": checksum}
