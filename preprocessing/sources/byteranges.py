"""Input splits that are byte ranges of text files, cut at line or document ends, so that many workers read one file.

A compressed file cannot be entered in the middle: it is one split. Line numbers are counted only for the positions
that a report shows. Text is UTF-8, with or without a byte-order mark.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

from preprocessing.errors import DataError
from preprocessing.files import reading
from preprocessing.sources.compressed import is_compressed, open_text, text_bytes
from preprocessing.sources.documents import DOCUMENT_TOO_LARGE, NOT_UTF8, BadRecord, Document, SingleFile
from preprocessing.textfiles import MARK, marked_encoding

MAX_DOCUMENT_BYTES = 64 << 20
"""Largest document, or line of JSON, that is kept in memory; a hole in a sparse file reads as one endless line."""
CHUNK_BYTES = 1 << 20

Item = TypeVar("Item")


class Line(NamedTuple):
    """A line of a file."""

    start: int
    """Offset of its first byte in the uncompressed text."""
    end: int
    """Offset after its last byte."""
    data: bytes
    """Its bytes; at most one more than MAX_DOCUMENT_BYTES."""


@dataclass(frozen=True)
class TextFile(SingleFile):
    """An input split that reads one text file, compressed or not."""

    @property
    def num_bytes(self) -> int:
        """Bytes of text; estimated for compressed files."""
        return text_bytes(self.path)


@dataclass(frozen=True)
class ByteRange(TextFile):
    """Bytes [start, stop) of a file's text, cut at the end of a line; `stop` None: to the end of the file."""

    start: int
    stop: int | None

    @property
    def num_bytes(self) -> int:
        """Bytes of text; estimated for compressed files."""
        return self.stop - self.start if self.stop is not None else super().num_bytes

    def place(self, position: int) -> str:
        """`file:line` of a byte offset."""
        number = sum(1 for _ in takewhile(lambda line: line.start <= position, self._lines(0)))
        return f"{self.path}:{number}"

    def lines(self) -> Iterator[Line]:
        """The lines of the range."""
        for line in self._lines(self.start):
            if self.stop is not None and line.start >= self.stop:
                return
            yield line

    def _lines(self, start: int) -> Iterator[Line]:
        with open_text(self.path) as file:
            if start:
                file.seek(start)
            else:
                _check_utf8(self.path, file)
            while data := file.readline(MAX_DOCUMENT_BYTES + 1):
                end = start + len(data)
                if len(data) > MAX_DOCUMENT_BYTES and not data.endswith(b"\n"):
                    end += skip_line(file)
                yield Line(start, end, data if start else data.removeprefix(MARK.encode()))
                start = end


def too_large(position: int, size: int) -> BadRecord:
    """The bad record for a document of `size` bytes."""
    detail = (
        f"{size:,} bytes without an end, at most {MAX_DOCUMENT_BYTES:,} are read as a document; cut it into several"
    )
    return BadRecord(DOCUMENT_TOO_LARGE, position, detail, size)


def decode(data: bytes, position: int) -> Document | BadRecord:
    """The document in UTF-8 bytes, without a byte-order mark; a bad record if they are not UTF-8."""
    try:
        return Document(data.decode("utf-8").removeprefix(MARK), position)
    except UnicodeDecodeError as error:
        return BadRecord(NOT_UTF8, position, str(error))


def group_files(files: list[Path], split_bytes: int) -> list[tuple[Path, ...]]:
    """Consecutive runs of files, each closed once its size reaches `split_bytes`."""
    return group(files, lambda path: path.stat().st_size, split_bytes)


def group(items: Iterable[Item], size: Callable[[Item], int], limit: int) -> list[tuple[Item, ...]]:
    """Consecutive runs of items, each closed once the sizes of its items add up to `limit`."""
    groups: list[list[Item]] = []
    held = limit
    for item in items:
        if held >= limit:
            groups.append([])
            held = 0
        groups[-1].append(item)
        held += size(item)
    return [tuple(group) for group in groups]


def cut(file: Path, split_bytes: int, skip: Callable[[BinaryIO], object]) -> Iterator[tuple[Path, int, int | None]]:
    """Cuts a file about every `split_bytes` bytes, at the position to which `skip` reads on.

    Yields:
        (path, start, stop) of each range; `stop` None for a compressed file, which is not cut.
    """
    if is_compressed(file):
        yield file, 0, None
        return
    start, size = 0, file.stat().st_size
    with reading(file), file.open("rb") as data:
        _check_utf8(file, data)
        while start < size:
            data.seek(start + split_bytes - 1)
            skip(data)
            stop = min(data.tell(), size)
            yield file, start, stop
            start = stop


def _check_utf8(path: Path, file: Any) -> None:
    """Checks that a file that is read by lines has no byte-order mark of UTF-16 or UTF-32.

    Raises:
        DataError: it has one.
    """
    encoding = marked_encoding(file.peek(4)[:4])
    if encoding not in ("", "UTF-8"):
        raise DataError(
            f"{path}: {encoding} by its byte-order mark, and files of many documents are read as UTF-8; convert it: "
            f"iconv -f {encoding} -t UTF-8 FILE > CONVERTED"
        )


def skip_line(file: BinaryIO) -> int:
    """Reads to the end of the line, a megabyte at a time, and returns the number of bytes."""
    size = 0
    while part := file.readline(CHUNK_BYTES):
        size += len(part)
        if part.endswith(b"\n"):
            break
    return size
