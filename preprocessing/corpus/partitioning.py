"""Assignment of documents to partitions by a hash of their text."""

import hashlib
from dataclasses import dataclass

from preprocessing.schema import HELDOUT, TRAIN


def key_of(text: bytes) -> bytes:
    """The key of a document: a hash of its text, 16 bytes."""
    return hashlib.blake2b(text, digest_size=16).digest()


@dataclass(frozen=True)
class Partitioning:
    """Assignment of documents to partitions: 0 .. train - 1 are for training, the following ones are held out."""

    train: int
    """Number of training partitions."""
    heldout: int
    """Number of held-out partitions; 0: no document is held out."""
    heldout_share: float
    """Share of the documents that are held out."""

    @staticmethod
    def of(num_bytes: int, partition_bytes: int, heldout_share: float) -> "Partitioning":
        """Partitions of about `partition_bytes` bytes of text each, for a corpus of about `num_bytes` bytes."""
        heldout_bytes = num_bytes * heldout_share
        train = max(1, round((num_bytes - heldout_bytes) / partition_bytes))
        heldout = max(1, round(heldout_bytes / partition_bytes)) if heldout_share else 0
        return Partitioning(train, heldout, heldout_share)

    def __len__(self) -> int:
        return self.train + self.heldout

    def partition(self, key: bytes) -> int:
        """The partition of the document with this key."""
        number = int.from_bytes(key[8:])
        if int.from_bytes(key[:8]) < self.heldout_share * 2**64:
            return self.train + number % self.heldout
        return number % self.train

    def partitions(self, split: str) -> range:
        """The partitions of the split `train` or `heldout`."""
        return {TRAIN: range(self.train), HELDOUT: range(self.train, len(self))}[split]
