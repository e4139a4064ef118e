"""Extracted documents on disk, stored so that a partition of them can be read alone.

A document belongs to the partition that a hash of its text names, whatever file it was found in. Each split of the
input becomes one Arrow file whose record batches go round the partitions, so that the build of a partition touches its
own batches only and its memory is bounded by the partition. Documents are lists of sentences. Partitions are random
samples of the corpus, and equal documents share one: none is both in `train` and in `heldout`.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from preprocessing.errors import DataError
from preprocessing.files import atomic_path, read_json, sha256_file, write_json
from preprocessing.schema import FORMAT_VERSION, HELDOUT, MANIFEST_NAME, TRAIN
from preprocessing.shards import check_size, check_sum

_DOCUMENT = pa.list_(pa.field("item", pa.string(), nullable=False))
_SCHEMA = pa.schema([pa.field("sentences", _DOCUMENT, nullable=False)])


@dataclass(frozen=True)
class Partitioning:
    """How documents are dealt to partitions: numbers 0 .. train - 1 for training, then those held out."""

    train: int
    """Number of training partitions."""
    heldout: int
    """Number of held-out partitions; 0: nothing is held out."""
    heldout_share: float
    """Share of the documents that is held out."""

    @staticmethod
    def of(num_bytes: int, partition_bytes: int, heldout_share: float) -> "Partitioning":
        """Partitions of about `partition_bytes` bytes of text each, for a corpus of about `num_bytes`."""
        heldout_bytes = num_bytes * heldout_share
        train = max(1, round((num_bytes - heldout_bytes) / partition_bytes))
        heldout = max(1, round(heldout_bytes / partition_bytes)) if heldout_share else 0
        return Partitioning(train, heldout, heldout_share)

    def __len__(self) -> int:
        return self.train + self.heldout

    def partition(self, text: bytes) -> int:
        """The partition of the document with this text."""
        digest = hashlib.blake2b(text, digest_size=16).digest()
        number = int.from_bytes(digest[8:])
        if int.from_bytes(digest[:8]) < self.heldout_share * 2**64:
            return self.train + number % self.heldout
        return number % self.train

    def partitions(self, split: str) -> range:
        """The partitions of `train` or of `heldout`."""
        return {TRAIN: range(self.train), HELDOUT: range(self.train, len(self))}[split]


@dataclass(frozen=True)
class DocumentFile:
    """What the manifest says of one Arrow file of documents."""

    path: str
    """File name, relative to the manifest's directory."""
    documents: list[int]
    """Number of documents in each partition."""
    bytes: int
    """Size of the file in bytes."""
    sha256: str
    """SHA-256 of the file, in hexadecimal."""


def write_documents(path: Path, blocks: Iterable[list[list[list[str]]]], num_partitions: int) -> DocumentFile:
    """Writes one file atomically: per block, the documents (lists of sentences) of each partition.

    A block bounds the memory of the writer; most splits make only one.
    """
    counts = [0] * num_partitions
    with atomic_path(path) as temporary:
        with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, _SCHEMA) as writer:
            for block in blocks:
                for partition, documents in enumerate(block):
                    writer.write_batch(pa.record_batch([pa.array(documents, _DOCUMENT)], schema=_SCHEMA))
                    counts[partition] += len(documents)
        size, checksum = temporary.stat().st_size, sha256_file(temporary)
    return DocumentFile(path.name, counts, size, checksum)


@dataclass(frozen=True)
class Corpus:
    """A finished documents directory."""

    directory: Path
    """Where it lies."""
    partitioning: Partitioning
    """How documents were dealt."""
    files: tuple[DocumentFile, ...]
    """In the order of the input."""

    def publish(self) -> None:
        """Writes the manifest, which makes the directory complete."""
        files = [asdict(file) for file in self.files]
        record = {"format_version": FORMAT_VERSION, "partitioning": asdict(self.partitioning), "files": files}
        write_json(self.directory / MANIFEST_NAME, record)

    @staticmethod
    def open(directory: Path) -> "Corpus":
        """Opens what `publish` completed, and checks that the files have their sizes.

        Raises:
            DataError: the directory is not complete, of another version, or a file is missing or cut short.
        """
        path = directory / MANIFEST_NAME
        if not path.is_file():
            raise DataError(f"{directory}: no {MANIFEST_NAME}; run `python -m preprocessing extract` to its end first")
        record = read_json(path)
        if (version := record.get("format_version")) != FORMAT_VERSION:
            raise DataError(
                f"{path}: format_version is {version!r}, this version reads {FORMAT_VERSION}; extract again"
            )
        files = tuple(DocumentFile(**file) for file in record["files"])
        for file in files:
            check_size(directory / file.path, file.bytes)
        return Corpus(directory, Partitioning(**record["partitioning"]), files)

    @property
    def sha256(self) -> str:
        """A checksum of all documents: the manifest's, which holds those of the files."""
        return sha256_file(self.directory / MANIFEST_NAME)

    @cached_property
    def counts(self) -> list[int]:
        """Number of documents in each partition."""
        return [sum(column) for column in zip(*(file.documents for file in self.files), strict=True)]

    @cached_property
    def sizes(self) -> list[int]:
        """About how many bytes each partition has, for progress bars."""
        per_document = sum(file.bytes for file in self.files) / max(1, sum(self.counts))
        return [int(count * per_document) for count in self.counts]

    def read(self, partition: int) -> pa.ListArray:
        """The documents of a partition: (D,) lists of sentences, memory-mapped where only one file holds any."""
        batches = [batch for file in self.files if file.documents[partition] for batch in self._read(file, partition)]
        return pa.concat_arrays([batch.column("sentences") for batch in batches] or [pa.array([], _DOCUMENT)])

    def _read(self, file: DocumentFile, partition: int) -> list[pa.RecordBatch]:
        reader = pa.ipc.open_file(pa.memory_map(str(self.directory / file.path)))
        return [
            reader.get_batch(number) for number in range(partition, reader.num_record_batches, len(self.partitioning))
        ]

    def verify(self) -> None:
        """Compares the checksum of every file with the manifest.

        Raises:
            DataError: a file differs; the message names it.
        """
        for file in self.files:
            check_sum(self.directory / file.path, file.sha256)
