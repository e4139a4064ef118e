"""Text in a column: Parquet, as the Hugging Face hub serves it, and Arrow IPC, as the library `datasets` saves it.

One row is one document. Only the text's column is read, through a memory map, a batch at a time. Row groups of Parquet
and record batches of Arrow's file format can be entered anywhere, so a file has many splits. Arrow's streaming format,
which `datasets` writes under the name .arrow, has to be read from its start: a file of it is one split.
"""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from preprocessing.documents import NO_TEXT_KEY, BadRecord, Document
from preprocessing.errors import DataError
from preprocessing.files import reading
from preprocessing.sources.records import decode, find_files, group

_BYTES_OF = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary()}
"""Types of text, each with that of its undecoded bytes."""
_FILE_MAGIC = b"ARROW1"
_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"
"""As in `IPC Streaming Format` of Arrow's columnar format, which lets a stream also just end; a lost tail would go
unnoticed."""
_BATCH_ROWS = 64
"""Rows of Parquet decoded at a time: a book may have a megabyte."""


@dataclass(frozen=True)
class Rows:
    """The rows of a file, a document each; its position is its row."""

    path: Path
    num_bytes: int
    text_key: str

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self.path,)

    def records(self) -> Iterator[Document | BadRecord]:
        """One record per row."""
        row = 0
        with _damage_named(self.path):
            for column in self._columns():
                # As bytes: a text that is not UTF-8 is a bad record, not a damaged file.
                texts = column.view(_BYTES_OF[column.type])
                texts.validate(full=True)
                for text in texts:
                    yield self._record(text.as_py(), row)
                    row += 1

    def _record(self, text: bytes | None, row: int) -> Document | BadRecord:
        return BadRecord(NO_TEXT_KEY, row, f"{self.text_key!r} is null") if text is None else decode(text, row)

    def place(self, position: int) -> str:
        """`file:row N`, counted from 0 as `datasets` and pandas do."""
        return f"{self.path}:row {self._rows_before() + position}"

    @abstractmethod
    def _columns(self) -> Iterator[pa.Array]:
        """The text's column, a part at a time."""

    def _rows_before(self) -> int:
        """Number of rows in the file that come before these."""
        return 0


@dataclass(frozen=True)
class RowRange(Rows):
    """The rows of the row groups or record batches [start, stop) of a file; positions count from the first of them."""

    start: int
    stop: int


class ParquetRows(RowRange):
    """Rows of Parquet row groups."""

    def _columns(self) -> Iterator[pa.Array]:
        groups = range(self.start, self.stop)
        with pq.ParquetFile(self.path, memory_map=True, page_checksum_verification=True) as file:
            for batch in file.iter_batches(_BATCH_ROWS, row_groups=groups, columns=[self.text_key]):
                yield batch.column(0)

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
            options = _read_only(self.text_key, pa.ipc.open_file(file).schema)
            reader = pa.ipc.open_file(file, options=options)
            for number in range(start, stop):
                yield reader.get_batch(number).column(0)


class ArrowStreamRows(Rows):
    """Rows of a whole file in Arrow's streaming format."""

    def _columns(self) -> Iterator[pa.Array]:
        with pa.memory_map(str(self.path)) as file:
            options = _read_only(self.text_key, pa.ipc.open_stream(file).schema)
            file.seek(0)
            for batch in pa.ipc.open_stream(file, options=options):
                yield batch.column(0)


def plan_parquet(path: Path, split_bytes: int, text_key: str) -> Iterator[ParquetRows]:
    """Splits of a Parquet file, or of all in a directory: runs of row groups of about `split_bytes` of text together.

    Raises:
        DataError: nothing is there, a file is damaged or has no such column.
    """
    for file in find_files(path, (".parquet",)):
        with _damage_named(file), pq.ParquetFile(file, memory_map=True) as parquet:
            _check_column(file, parquet.schema_arrow, text_key)
            sizes = _text_sizes(parquet.metadata, text_key)
        for run in group(range(len(sizes)), sizes.__getitem__, split_bytes):
            start, stop = run[0], run[-1] + 1
            yield ParquetRows(file, sum(sizes[start:stop]), text_key, start, stop)


def plan_arrow(path: Path, split_bytes: int, text_key: str) -> Iterator[ArrowFileRows | ArrowStreamRows]:
    """Splits of an Arrow IPC file, or of all in a directory.

    What `datasets` names cache-*.arrow is left out: results of `map` and `filter` on the files beside it.

    Raises:
        DataError: nothing is there, a file is damaged or has no such column.
    """
    for file in find_files(path, (".arrow",)):
        if file != path and file.name.startswith("cache-"):
            continue
        size = file.stat().st_size
        if not _is_file_format(file):
            _check_stream(file, text_key)
            yield ArrowStreamRows(file, size, text_key)
            continue
        with _damage_named(file), pa.memory_map(str(file)) as source:
            reader = pa.ipc.open_file(source)
            _check_column(file, reader.schema, text_key)
            batches = reader.num_record_batches
        parts = min(batches, -(-size // split_bytes))
        for part in range(parts):
            start, stop = batches * part // parts, batches * (part + 1) // parts
            yield ArrowFileRows(file, size * (stop - start) // batches, text_key, start, stop)


def _is_file_format(path: Path) -> bool:
    with reading(path), path.open("rb") as file:
        return file.read(len(_FILE_MAGIC)) == _FILE_MAGIC


def _check_stream(path: Path, text_key: str) -> None:
    with _damage_named(path), pa.memory_map(str(path)) as source:
        _check_column(path, pa.ipc.open_stream(source).schema, text_key)
        source.seek(max(0, source.size() - len(_END_OF_STREAM)))
        if source.read() != _END_OF_STREAM:
            raise pa.ArrowInvalid("it ends before its end-of-stream marker")


def _check_column(path: Path, schema: pa.Schema, text_key: str) -> None:
    index = schema.get_field_index(text_key)
    if index < 0 or schema.field(index).type not in _BYTES_OF:
        columns = ", ".join(f"{field.name} ({field.type})" for field in schema)
        raise DataError(
            f"{path}: no column {text_key!r} of type string or large_string; available columns: {columns}; "
            "set --text_key"
        )


def _read_only(text_key: str, schema: pa.Schema) -> pa.ipc.IpcReadOptions:
    return pa.ipc.IpcReadOptions(included_fields=[schema.get_field_index(text_key)])


def _text_sizes(metadata: pq.FileMetaData, text_key: str) -> list[int]:
    """Uncompressed bytes of the text's column in each row group."""
    paths = [metadata.schema.column(number).path for number in range(metadata.num_columns)]
    column = paths.index(text_key)
    return [
        metadata.row_group(number).column(column).total_uncompressed_size for number in range(metadata.num_row_groups)
    ]


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Turns what Arrow says of a file that it cannot read into a DataError."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # The last: a column's name.
        if isinstance(error, OSError) and error.errno is not None:  # The disk's; Arrow gives no number.
            raise
        kind = "Parquet" if path.suffix == ".parquet" else "Arrow"
        raise DataError(f"{path}: damaged {kind} file ({error}); fetch it again") from None
