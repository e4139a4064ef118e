"""Text that is already text: JSON Lines, files of blank-line separated documents, one file per document.

`jsonl` and `text` files are cut into byte ranges at line or document ends, so that many workers read one big file.
A compressed file cannot be entered in the middle: it is one split. Line numbers are counted only for the places that a
report names.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

from preprocessing.documents import BROKEN_JSON, DOCUMENT_TOO_LARGE, NO_TEXT_KEY, NOT_UTF8, BadRecord, Document
from preprocessing.errors import DataError
from preprocessing.files import reading
from preprocessing.sources.compressed import also_compressed, is_compressed, open_text, text_bytes

MAX_DOCUMENT_BYTES = 64 << 20
"""Largest document, or line of JSON, that is kept in memory; a hole in a file reads as one endless line."""
_CHUNK = 1 << 20

Item = TypeVar("Item")


class Line(NamedTuple):
    """A line of a file."""

    start: int
    """Position of its first byte in the file's text."""
    end: int
    """Position behind its last byte."""
    data: bytes
    """Its bytes; of one longer than MAX_DOCUMENT_BYTES so many that this shows."""


@dataclass(frozen=True)
class ByteRange:
    """Bytes [start, stop) of a file's text, cut where a line ends; stop None: to the end."""

    path: Path
    start: int
    stop: int | None

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self.path,)

    @property
    def num_bytes(self) -> int:
        """Bytes of text; estimated for compressed files."""
        return self.stop - self.start if self.stop is not None else text_bytes(self.path)

    def place(self, position: int) -> str:
        """`file:line` of a byte."""
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
            while data := file.readline(MAX_DOCUMENT_BYTES + 1):
                end = start + len(data)
                if len(data) > MAX_DOCUMENT_BYTES and not data.endswith(b"\n"):
                    end += _skip_line(file)
                yield Line(start, end, data)
                start = end


@dataclass(frozen=True)
class JsonLines(ByteRange):
    """Lines that are JSON objects, one document each, its text under `text_key`; blank lines are skipped."""

    text_key: str

    def records(self) -> Iterator[Document | BadRecord]:
        """One record per line."""
        for start, end, line in self.lines():
            if len(line) > MAX_DOCUMENT_BYTES:
                yield _too_large(start, end - start)
            elif line.strip():
                yield self._record(start, line)

    def _record(self, position: int, line: bytes) -> Document | BadRecord:
        try:
            record = json.loads(line.decode("utf-8").rstrip("\r\n"))
        except UnicodeDecodeError as error:
            return BadRecord(NOT_UTF8, position, str(error))
        except json.JSONDecodeError as error:
            return BadRecord(BROKEN_JSON, position, f"{error.msg} at column {error.colno}")
        except RecursionError:
            return BadRecord(BROKEN_JSON, position, "nested too deeply")
        if not isinstance(record, dict):
            return BadRecord(BROKEN_JSON, position, f"expected an object, found {type(record).__name__}")
        text = record.get(self.text_key)
        if not isinstance(text, str):
            found = f"{self.text_key!r} is {text!r}" if self.text_key in record else f"no key {self.text_key!r}"
            return BadRecord(NO_TEXT_KEY, position, f"{found}; available keys: {', '.join(record)}; set --text_key")
        return Document(text, position)


@dataclass(frozen=True)
class TextDocuments(ByteRange):
    """Documents separated by blank lines, a sentence or paragraph per line: the input of google-research/bert."""

    def records(self) -> Iterator[Document | BadRecord]:
        """One record per run of non-blank lines."""
        first = size = 0
        lines: list[bytes] = []
        for start, end, line in self.lines():
            if line.strip():
                first = first if size else start
                lines += [line] * (size <= MAX_DOCUMENT_BYTES)
                size += end - start
            elif size:
                yield _document(lines, first, size)
                lines, size = [], 0
        if size:
            yield _document(lines, first, size)


@dataclass(frozen=True)
class WholeFiles:
    """Files of one document each; paragraphs are separated by blank lines, the lines of one are joined."""

    files: tuple[Path, ...]

    @property
    def num_bytes(self) -> int:
        """Bytes of text; estimated for compressed files."""
        return sum(map(text_bytes, self.files))

    def records(self) -> Iterator[Document | BadRecord]:
        """One record per file; its position is the file's number."""
        for number, path in enumerate(self.files):
            with open_text(path) as file:
                data = file.read(MAX_DOCUMENT_BYTES + 1)
            if len(data) > MAX_DOCUMENT_BYTES:
                yield _too_large(number, text_bytes(path))
                continue
            record = decode(data, number)
            yield Document(join_lines(record.text), number) if isinstance(record, Document) else record

    def place(self, position: int) -> str:
        """The file's path."""
        return f"{self.files[position]}:1"


def _document(lines: list[bytes], position: int, size: int) -> Document | BadRecord:
    """The document of these lines, which have `size` bytes, or the first of them where that is too much."""
    return decode(b"".join(lines), position) if size <= MAX_DOCUMENT_BYTES else _too_large(position, size)


def _too_large(position: int, size: int) -> BadRecord:
    detail = (
        f"{size:,} bytes without an end, at most {MAX_DOCUMENT_BYTES:,} are read as a document; cut it into several"
    )
    return BadRecord(DOCUMENT_TOO_LARGE, position, detail, size)


def decode(data: bytes, position: int) -> Document | BadRecord:
    """A document of UTF-8 bytes, or what is wrong with them."""
    try:
        return Document(data.decode("utf-8"), position)
    except UnicodeDecodeError as error:
        return BadRecord(NOT_UTF8, position, str(error))


def join_lines(text: str) -> str:
    """Paragraphs that blank lines separate, put on one line each."""
    paragraphs: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.strip():
            paragraphs[-1].append(line.strip())
        elif paragraphs[-1]:
            paragraphs.append([])
    return "\n".join(" ".join(lines) for lines in paragraphs)


def plan_jsonl(path: Path, split_bytes: int, text_key: str) -> list[JsonLines]:
    """Splits of a `.jsonl` file, or of all in a directory."""
    ranges = _plan_ranges(path, also_compressed(".jsonl"), split_bytes, _skip_line)
    return [JsonLines(*cut, text_key) for cut in ranges]


def plan_text(path: Path, split_bytes: int) -> list[TextDocuments]:
    """Splits of a `.txt` file, or of all in a directory."""
    ranges = _plan_ranges(path, also_compressed(".txt"), split_bytes, _skip_document)
    return [TextDocuments(*cut) for cut in ranges]


def plan_files(path: Path, split_bytes: int) -> list[WholeFiles]:
    """Splits of a `.txt` or `.md` file, or of all in a directory: runs of files of about `split_bytes` together."""
    return [WholeFiles(files) for files in group_files(find_files(path, also_compressed(".txt", ".md")), split_bytes)]


def group_files(files: list[Path], split_bytes: int) -> list[tuple[Path, ...]]:
    """Consecutive runs of files, each closed once it holds `split_bytes`."""
    return group(files, lambda path: path.stat().st_size, split_bytes)


def group(items: Iterable[Item], size: Callable[[Item], int], limit: int) -> list[tuple[Item, ...]]:
    """Consecutive runs of items, each closed once its sizes add up to `limit`."""
    groups: list[list[Item]] = []
    held = limit
    for item in items:
        if held >= limit:
            groups.append([])
            held = 0
        groups[-1].append(item)
        held += size(item)
    return [tuple(group) for group in groups]


def find_files(path: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """The file itself, or the files below a directory with one of these suffixes, sorted by path.

    Raises:
        DataError: nothing is there.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"{path}: no such file or directory; check the path after the colon in --sources")
    files = sorted(file for file in path.rglob("*") if file.name.endswith(suffixes) and not file.is_dir())
    if not files:
        raise DataError(f"{path}: no file below it ends in {', '.join(suffixes)}; check the path in --sources")
    return files


def _plan_ranges(
    path: Path, suffixes: tuple[str, ...], split_bytes: int, skip: Callable[[BinaryIO], object]
) -> Iterator[tuple[Path, int, int | None]]:
    """Cuts each file about every `split_bytes` bytes, where `skip` stops after being put there."""
    for file in find_files(path, suffixes):
        if is_compressed(file):
            yield file, 0, None
            continue
        start, size = 0, file.stat().st_size
        with reading(file), file.open("rb") as data:
            while start < size:
                data.seek(start + split_bytes - 1)
                skip(data)
                stop = min(data.tell(), size)
                yield file, start, stop
                start = stop


def _skip_line(file: BinaryIO) -> int:
    """Reads to the end of the line, a megabyte at a time; the number of bytes."""
    size = 0
    while part := file.readline(_CHUNK):
        size += len(part)
        if part.endswith(b"\n"):
            break
    return size


def _skip_document(file: BinaryIO) -> None:
    _skip_line(file)
    while file.readline(_CHUNK).strip():
        pass
