"""Sources of tables with a text column: Parquet, as on the Hugging Face hub, and Arrow IPC, as `datasets` saves it.

One row is one document. Only the text column is read, through a memory map, a batch at a time. Row groups of Parquet
and record batches of Arrow's file format can be read by themselves, so a file has many splits. Arrow's streaming
format, which `datasets` writes to .arrow files, has to be read from its start: such a file is one split.
"""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from preprocessing.errors import DataError
from preprocessing.files import reading
from preprocessing.sources.byteranges import group
from preprocessing.sources.documents import BadRecord, Document, SingleFile
from preprocessing.sources.search import FileSearch, Form
from preprocessing.sources.textcolumn import column_of, texts

_PARQUET_MAGIC, _FILE_MAGIC, _OLD_MAGIC = b"PAR1", b"ARROW1", b"FEA1"
_STREAM_MAGIC = b"\xff\xff\xff\xff"
_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"
"""The end-of-stream marker. Arrow's specification makes it optional; here it is required, so that a lost end is
noticed."""
_BATCH_ROWS = 64
"""Rows of Parquet decoded at a time; a row may hold a megabyte, such as a book."""


@dataclass(frozen=True)
class Rows(SingleFile):
    """Rows of a file, one document each; its position is the index of the row."""

    num_bytes: int
    text_key: str
    column: str
    """Name of the column that `text_key` leads to."""
    format: ClassVar[str] = "Arrow"

    def records(self) -> Iterator[Document | BadRecord]:
        """One record per row."""
        row = 0
        with _damage_named(self.path, self.format):
            for column in self._columns():
                yield from texts(column, self.column, self.text_key, row)
                row += len(column)

    def place(self, position: int) -> str:
        """`file:row N`, counted from 0 as in `datasets` and pandas."""
        return f"{self.path}:row {self._rows_before() + position}"

    @abstractmethod
    def _columns(self) -> Iterator[pa.Array]:
        """Yields the text column, a run of rows at a time."""

    def _rows_before(self) -> int:
        """Number of rows of the file before the first of these."""
        return 0


@dataclass(frozen=True)
class RowRange(Rows):
    """Rows of the row groups or record batches [start, stop) of a file; positions count from the first of them."""

    start: int
    stop: int


class ParquetRows(RowRange):
    """Rows of Parquet row groups."""

    format = "Parquet"

    def _columns(self) -> Iterator[pa.Array]:
        groups = range(self.start, self.stop)
        with pq.ParquetFile(self.path, memory_map=True, page_checksum_verification=True) as file:
            for batch in file.iter_batches(_BATCH_ROWS, row_groups=groups, columns=[self.column]):
                yield batch.column(batch.schema.get_field_index(self.column))

    def _rows_before(self) -> int:
        metadata = pq.read_metadata(self.path, memory_map=True)
        return sum(metadata.row_group(number).num_rows for number in range(self.start))


class ArrowFileRows(RowRange):
    """Rows of record batches in Arrow's file format."""

    def _columns(self) -> Iterator[pa.Array]:
        return self._batches(self.start, self.stop)

    def _rows_before(self) -> int:
        return sum(map(len, self._batches(0, self.start)))

    def _batches(self, start: int, stop: int) -> Iterator[pa.Array]:
        with pa.memory_map(str(self.path)) as file:
            options = _read_only(self.column, pa.ipc.open_file(file).schema)
            reader = pa.ipc.open_file(file, options=options)
            for number in range(start, stop):
                yield reader.get_batch(number).column(0)


class ArrowStreamRows(Rows):
    """Rows of a whole file in Arrow's streaming format."""

    def _columns(self) -> Iterator[pa.Array]:
        with pa.memory_map(str(self.path)) as file:
            options = _read_only(self.column, pa.ipc.open_stream(file).schema)
            file.seek(0)
            for batch in pa.ipc.open_stream(file, options=options):
                yield batch.column(0)


def _old_feather(head: bytes) -> str:
    return "Feather version 1, which is not read; write it again as version 2" * head.startswith(_OLD_MAGIC)


PARQUET = Form("parquet", (".parquet", ".pq", ".parq"), lambda head: head.startswith(_PARQUET_MAGIC), compressed=False)
ARROW = Form(
    "arrow",
    (".arrow", ".arrows", ".feather", ".ipc"),
    lambda head: head.startswith((_FILE_MAGIC, _STREAM_MAGIC)),
    compressed=False,
    accompanies=lambda name: "cached by `map` or `filter` of datasets" * name.startswith("cache-"),
    refuses=_old_feather,
)


def split_parquet(
    path: Path, split_bytes: int, text_key: str, search: FileSearch | None = None
) -> Iterator[ParquetRows]:
    """Cuts a Parquet file, or all in a directory, into splits: runs of row groups of about `split_bytes` of text.

    Raises:
        DataError: there is no file, or a file is damaged or has no such column.
    """
    for file in (search or FileSearch()).files(path, PARQUET):
        with _damage_named(file, ParquetRows.format), pq.ParquetFile(file, memory_map=True) as parquet:
            column = _column_of(file, parquet.schema_arrow, text_key)
            sizes = _text_sizes(parquet.metadata, column, text_key)
        for run in group(range(len(sizes)), sizes.__getitem__, split_bytes):
            start, stop = run[0], run[-1] + 1
            yield ParquetRows(file, sum(sizes[start:stop]), text_key, column, start, stop)


def split_arrow(
    path: Path, split_bytes: int, text_key: str, search: FileSearch | None = None
) -> Iterator[ArrowFileRows | ArrowStreamRows]:
    """Cuts an Arrow IPC file, or all in a directory, into splits.

    Files named cache-*.arrow are left out: they are results of `map` and `filter` of `datasets` on the files beside
    them.

    Raises:
        DataError: there is no file, or a file is damaged or has no such column.
    """
    for file in (search or FileSearch()).files(path, ARROW):
        size = file.stat().st_size
        if not _is_file_format(file):
            yield ArrowStreamRows(file, size, text_key, _check_stream(file, text_key))
            continue
        with _damage_named(file, Rows.format), pa.memory_map(str(file)) as source:
            reader = pa.ipc.open_file(source)
            column = _column_of(file, reader.schema, text_key)
            batches = reader.num_record_batches
        parts = min(batches, -(-size // split_bytes))
        for part in range(parts):
            start, stop = batches * part // parts, batches * (part + 1) // parts
            yield ArrowFileRows(file, size * (stop - start) // batches, text_key, column, start, stop)


def _is_file_format(path: Path) -> bool:
    with reading(path), path.open("rb") as file:
        return file.read(len(_FILE_MAGIC)) == _FILE_MAGIC


def _check_stream(path: Path, text_key: str) -> str:
    """Checks that a stream is complete, and returns the name of the text column."""
    with _damage_named(path, Rows.format), pa.memory_map(str(path)) as source:
        column = _column_of(path, pa.ipc.open_stream(source).schema, text_key)
        source.seek(max(0, source.size() - len(_END_OF_STREAM)))
        if source.read() != _END_OF_STREAM:
            raise pa.ArrowInvalid("it ends before its end-of-stream marker")
    return column


def _column_of(path: Path, schema: pa.Schema, text_key: str) -> str:
    try:
        return column_of(schema, text_key)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _read_only(column: str, schema: pa.Schema) -> pa.ipc.IpcReadOptions:
    return pa.ipc.IpcReadOptions(included_fields=[schema.get_field_index(column)])


def _text_sizes(metadata: pq.FileMetaData, column: str, text_key: str) -> list[int]:
    """Uncompressed bytes of text in each row group: of the text's leaf in a nested column, otherwise of the column."""
    paths = [metadata.schema.column(number).path for number in range(metadata.num_columns)]
    leaves = [number for number, path in enumerate(paths) if path == text_key]
    leaves = leaves or [number for number, path in enumerate(paths) if f"{path}.".startswith(f"{column}.")]
    return [
        sum(metadata.row_group(number).column(leaf).total_uncompressed_size for leaf in leaves)
        for number in range(metadata.num_row_groups)
    ]


@contextmanager
def _damage_named(path: Path, kind: str) -> Iterator[None]:
    """Turns an error of Arrow about a file's content into a DataError that names the file."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # UnicodeDecodeError: in the name of a column.
        if isinstance(error, OSError) and error.errno is not None:  # Of the disk; Arrow's errors have no number.
            raise
        raise DataError(f"{path}: damaged {kind} file ({error}); download it again") from None
