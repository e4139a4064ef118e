"""Storage of extracted documents, in which each partition can be read separately.

The partition of a document is a hash of its text, whatever file it was read from. Each input split becomes one Arrow
file, whose record batches cycle through the partitions, so that building a partition reads its own batches only, in
memory bounded by the partition. Documents are lists of sentences. Partitions are random samples of the corpus, and
equal documents share one, so that no document is both in `train` and in `heldout`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from preprocessing.corpus.partitioning import Partitioning
from preprocessing.errors import DataError
from preprocessing.files import atomic_path, read_json, sha256_file, write_json
from preprocessing.schema import FORMAT_VERSION, MANIFEST_NAME
from preprocessing.shards import check_size, check_sum

_DOCUMENT = pa.list_(pa.field("item", pa.string(), nullable=False))
_COLUMNS = {"sentences": _DOCUMENT, "key": pa.binary(16), "signature": pa.binary()}
_SCHEMA = pa.schema([pa.field(name, kind, nullable=False) for name, kind in _COLUMNS.items()])
_DROPPED = pa.schema([pa.field("documents", pa.list_(pa.uint32()), nullable=False)])
_DROPPED_NAME = "dropped.arrow"
_CHUNK_BYTES = 8 << 20
"""Size of text in a chunk; processing it, above all its words, takes some six times the memory."""


class Stored(NamedTuple):
    """A document in its stored form."""

    sentences: list[str]
    key: bytes
    """Hash of the text, 16 bytes."""
    signature: bytes = b""
    """MinHash of the text, if near-duplicates are searched for; otherwise empty."""


@dataclass(frozen=True)
class CountedFile:
    """Manifest entry of an Arrow file with document counts by partition."""

    path: str
    """File name, relative to the manifest's directory."""
    documents: list[int]
    """Number of documents in each partition."""
    bytes: int
    """Size of the file in bytes."""
    sha256: str
    """SHA-256 of the file, in hexadecimal."""


@dataclass(frozen=True)
class DocumentFile(CountedFile):
    """Manifest entry of a file of documents."""

    source: int
    """Index of the documents' source in `Corpus.sources`."""
    language: str = ""
    """Language code by which the documents were processed; empty in corpora of earlier versions."""


def write_documents(
    path: Path, blocks: Iterable[list[list[Stored]]], num_partitions: int, source: int, language: str = ""
) -> DocumentFile:
    """Writes one file atomically.

    Args:
        path: of the file.
        blocks: per block, the documents of each partition. A block bounds the memory of the writer; most input splits
            have only one.
        num_partitions: number of partitions.
        source: index of the source of all documents.
        language: language code of all documents.
    """
    counts = [0] * num_partitions
    with atomic_path(path) as temporary:
        with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, _SCHEMA) as writer:
            for block in blocks:
                for partition, documents in enumerate(block):
                    columns = zip(*documents, strict=True) if documents else ([],) * len(_COLUMNS)
                    arrays = [pa.array(column, kind) for column, kind in zip(columns, _SCHEMA.types, strict=True)]
                    writer.write_batch(pa.record_batch(arrays, schema=_SCHEMA))
                    counts[partition] += len(documents)
        size, checksum = temporary.stat().st_size, sha256_file(temporary)
    return DocumentFile(path.name, counts, size, checksum, source, language)


@dataclass(frozen=True)
class Corpus:
    """A complete documents directory."""

    directory: Path
    """Path of the directory."""
    sources: tuple[str, ...]
    """Sources of the documents, as given on the command line."""
    partitioning: Partitioning
    """Assignment of documents to partitions."""
    files: tuple[DocumentFile, ...]
    """Files of documents, in the order of the input."""
    dropped: CountedFile | None = None
    """File with the documents of each partition that `read` leaves out; None: all are read."""

    def drop(self, documents: list[np.ndarray]) -> "Corpus":
        """The corpus without these documents; writes their sorted indices, per partition, to a file."""
        path = self.directory / _DROPPED_NAME
        with atomic_path(path) as temporary:
            with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, _DROPPED) as writer:
                writer.write_batch(pa.record_batch([pa.array(documents, _DROPPED.types[0])], schema=_DROPPED))
            size, checksum = temporary.stat().st_size, sha256_file(temporary)
        return replace(self, dropped=CountedFile(path.name, [len(numbers) for numbers in documents], size, checksum))

    def publish(self) -> None:
        """Writes the manifest, which makes the directory complete."""
        record = {
            "format_version": FORMAT_VERSION,
            "sources": self.sources,
            "partitioning": asdict(self.partitioning),
            "files": [asdict(file) for file in self.files],
            "dropped": asdict(self.dropped) if self.dropped else None,
        }
        write_json(self.directory / MANIFEST_NAME, record)

    @staticmethod
    def open(directory: Path) -> "Corpus":
        """Opens a complete directory and checks the sizes of its files.

        Raises:
            DataError: the directory is incomplete or of another version, or a file is missing or truncated.
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
        dropped = CountedFile(**record["dropped"]) if record["dropped"] else None
        partitioning = Partitioning(**record["partitioning"])
        corpus = Corpus(directory, tuple(record["sources"]), partitioning, files, dropped)
        for file in corpus._all_files():
            if file.path != Path(file.path).name:
                raise DataError(f"{path}: file {file.path!r} leaves the directory; extract again")
            check_size(directory / file.path, file.bytes)
        return corpus

    @property
    def sha256(self) -> str:
        """Checksum of all documents: that of the manifest, which contains those of the files."""
        return sha256_file(self.directory / MANIFEST_NAME)

    @cached_property
    def stored_counts(self) -> list[int]:
        """Number of stored documents of each partition, including dropped ones."""
        return [sum(column) for column in zip(*(file.documents for file in self.files), strict=True)]

    @cached_property
    def counts(self) -> list[int]:
        """Number of documents of each partition without dropped ones."""
        dropped = self.dropped.documents if self.dropped else [0] * len(self.partitioning)
        return [stored - gone for stored, gone in zip(self.stored_counts, dropped, strict=True)]

    @cached_property
    def sizes(self) -> list[int]:
        """Estimated size of each partition in bytes, for progress bars."""
        per_document = sum(file.bytes for file in self.files) / max(1, sum(self.counts))
        return [int(count * per_document) for count in self.counts]

    def read(self, partition: int) -> pa.ListArray:
        """The documents of a partition without dropped ones: (D,) lists of sentences."""
        return pa.concat_arrays([*self.chunks(partition), pa.array([], _DOCUMENT)])

    def chunks(self, partition: int) -> Iterator[pa.ListArray]:
        """The documents of `read` in chunks of about _CHUNK_BYTES of text, none of them empty, to bound memory."""
        documents = pa.chunked_array(self._columns("sentences", partition), _DOCUMENT)
        kept = self._kept(partition)  # (D,)
        for start, stop in pairwise(_cuts(documents)):
            if kept[start:stop].any():
                yield documents.slice(start, stop - start).combine_chunks().filter(pa.array(kept[start:stop]))

    def spread(self, source: int, count: int) -> Iterator[list[str]]:
        """At most `count` evenly spread documents of a source without dropped ones; the same on every call."""
        files = [(number, file) for number, file in enumerate(self.files) if file.source == source]
        places = [(number, partition) for number, _ in files for partition in range(len(self.partitioning))]
        ends = np.cumsum(
            [file.documents[partition] for _, file in files for partition in range(len(self.partitioning))]
        )
        total = int(ends[-1]) if len(ends) else 0
        for index in np.unique(np.linspace(0, total - 1, min(count, total)).astype(np.int64)).tolist():
            place = int(np.searchsorted(ends, index, side="right"))
            number, partition = places[place]
            row = index - (int(ends[place - 1]) if place else 0)
            before = sum(file.documents[partition] for file in self.files[:number])
            if self._kept(partition)[before + row]:
                yield self._document(self.files[number], partition, row)

    def _document(self, file: DocumentFile, partition: int, row: int) -> list[str]:
        for batch in self._read(file, partition):
            if row < batch.num_rows:
                return batch.column("sentences")[row].as_py()
            row -= batch.num_rows
        raise DataError(f"{self.directory / file.path}: has fewer documents than the manifest says; extract again")

    def texts_of(self, number: int) -> Iterator[str]:
        """The text of each stored document of a file, in the order of the file."""
        reader = pa.ipc.open_file(pa.memory_map(str(self.directory / self.files[number].path)))
        for batch in range(reader.num_record_batches):
            for sentences in reader.get_batch(batch).column("sentences"):
                yield " ".join(sentences.as_py())

    def sources_of(self, partition: int) -> np.ndarray:
        """(D,) index of the source of each document of `read`."""
        sources = [file.source for file in self.files]
        return np.repeat(sources, [file.documents[partition] for file in self.files])[self._kept(partition)]

    def _kept(self, partition: int) -> np.ndarray:
        """(D,) whether each stored document is not dropped."""
        kept = np.ones(self.stored_counts[partition], bool)
        if self.dropped is not None:
            reader = pa.ipc.open_file(pa.memory_map(str(self.directory / self.dropped.path)))
            kept[reader.get_batch(0).column("documents")[partition].values.to_numpy()] = False
        return kept

    def keys(self, partition: int) -> np.ndarray:
        """(D,) keys of the stored documents of a partition, 16 bytes each."""
        return _bytes_of(self._column("key", partition), 16)

    def signatures(self, partition: int) -> np.ndarray:
        """(D, P) uint32 MinHash values of the stored documents of a partition."""
        column = self._column("signature", partition)
        return np.frombuffer(b"".join(column.to_pylist()), np.uint32).reshape(len(column), -1)

    def places(self, partition: int) -> np.ndarray:
        """(D,) position in the input of each stored document of a partition, as an ascending number: file, then row."""
        counts = [file.documents[partition] for file in self.files]
        return np.concatenate([number * 2**32 + np.arange(count) for number, count in enumerate(counts)])

    def _column(self, name: str, partition: int) -> pa.Array:
        return pa.concat_arrays([*self._columns(name, partition), pa.array([], _COLUMNS[name])])

    def _columns(self, name: str, partition: int) -> list[pa.Array]:
        """A column of the stored documents of a partition, memory-mapped, one array per record batch."""
        batches = (batch for file in self.files if file.documents[partition] for batch in self._read(file, partition))
        return [batch.column(name) for batch in batches]

    def _read(self, file: DocumentFile, partition: int) -> list[pa.RecordBatch]:
        reader = pa.ipc.open_file(pa.memory_map(str(self.directory / file.path)))
        return [
            reader.get_batch(number) for number in range(partition, reader.num_record_batches, len(self.partitioning))
        ]

    def verify(self) -> None:
        """Compares the checksum of every file with the manifest.

        Raises:
            DataError: a checksum differs; the message names the file.
        """
        for file in self._all_files():
            check_sum(self.directory / file.path, file.sha256)

    def _all_files(self) -> list[CountedFile]:
        return [*self.files, *([self.dropped] if self.dropped else [])]


def _bytes_of(column: pa.Array, width: int) -> np.ndarray:
    """A fixed-size binary column (N,) as an array of NumPy's void type."""
    return np.frombuffer(b"".join(column.to_pylist()), f"V{width}")


def _cuts(documents: pa.ChunkedArray) -> list[int]:
    """Indices that cut documents (D,) to chunks of about _CHUNK_BYTES of text, including 0 and D."""
    lengths = [pc.binary_length(chunk.flatten()).to_numpy() for chunk in documents.chunks]  # each (S,)
    sizes = [
        np.add.reduceat(length, chunk.offsets[:-1]) for length, chunk in zip(lengths, documents.chunks, strict=True)
    ]
    parts = np.cumsum(np.concatenate([np.empty(0, int), *sizes])) // _CHUNK_BYTES  # (D,)
    return [0, *np.flatnonzero(np.diff(parts)) + 1, *[len(documents)] * (len(documents) > 0)]
