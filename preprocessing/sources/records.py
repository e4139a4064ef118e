"""Text that is already text: JSON Lines, and one file per document.

Files of many documents are cut into byte ranges at line or document ends, so that many workers read one big file.
A compressed file cannot be entered in the middle: it is one split. Line numbers are counted only for the places that a
report names. Text is UTF-8, with or without a byte-order mark; files of one document each may be UTF-16 with one.
"""

import codecs
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

from preprocessing.errors import DataError
from preprocessing.files import reading
from preprocessing.sources.compressed import is_compressed, open_text, text_bytes
from preprocessing.sources.content import not_text
from preprocessing.sources.documents import (
    BROKEN_JSON,
    DOCUMENT_TOO_LARGE,
    MISSING_END,
    NO_TEXT_KEY,
    NOT_UTF8,
    OTHER_CONTENT,
    BadRecord,
    Document,
)
from preprocessing.sources.jsonarray import ArrayReader, BrokenArrayError, is_array_of_objects
from preprocessing.sources.search import HEAD_BYTES, FileSearch, Form, read_head
from preprocessing.sources.textkey import NoTextError, find_text
from preprocessing.textfiles import MARK, decode_text, marked_encoding

MAX_DOCUMENT_BYTES = 64 << 20
"""Largest document, or line of JSON, that is kept in memory; a hole in a file reads as one endless line."""
CHUNK_BYTES = 1 << 20
_FIRST_RECORDS = 100
"""How many records must all lack the key for a job not to begin."""
_ONE_VALUE = re.compile(rb"\s*(?:\[|\{\s*\n)")
"""How JSON begins that is one value, and not an object per line."""
_OBJECT = re.compile(rb"\{[ \t]*[\"}]")
_TAG = re.compile(rb"(?:\xef\xbb\xbf)?\s*<[?!a-zA-Z]")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")

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
            else:
                _check_utf8(self.path, file)
            while data := file.readline(MAX_DOCUMENT_BYTES + 1):
                end = start + len(data)
                if len(data) > MAX_DOCUMENT_BYTES and not data.endswith(b"\n"):
                    end += skip_line(file)
                yield Line(start, end, data if start else data.removeprefix(MARK.encode()))
                start = end


@dataclass(frozen=True)
class JsonLines(ByteRange):
    """Lines that are JSON objects, one document each, its text under `text_key`; blank lines are skipped."""

    text_key: str

    def records(self) -> Iterator[Document | BadRecord]:
        """One record per line."""
        for start, end, line in self.lines():
            if len(line) > MAX_DOCUMENT_BYTES:
                yield too_large(start, end - start)
            elif line.strip():
                yield self._record(start, line)

    def _record(self, position: int, line: bytes) -> Document | BadRecord:
        try:
            record = json.loads(line.decode("utf-8").removeprefix(MARK).rstrip("\r\n"))
        except UnicodeDecodeError as error:
            return BadRecord(NOT_UTF8, position, str(error))
        except json.JSONDecodeError as error:
            return BadRecord(BROKEN_JSON, position, f"{error.msg} at column {error.colno}")
        except RecursionError:
            return BadRecord(BROKEN_JSON, position, "nested too deeply")
        return _of_object(record, self.text_key, position)


@dataclass(frozen=True)
class JsonObjects:
    """A file that is one JSON array of objects, one document each, its text under `text_key`. It is one split."""

    path: Path
    text_key: str

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self.path,)

    @property
    def num_bytes(self) -> int:
        """Bytes of text; estimated for compressed files."""
        return text_bytes(self.path)

    def records(self) -> Iterator[Document | BadRecord]:
        """One record per element, whose number is its position; nothing is read behind what is no JSON."""
        number = 0
        with open_text(self.path) as file:
            array = ArrayReader(file, MAX_DOCUMENT_BYTES)
            try:
                for element in array.elements():
                    yield _of_object(element, self.text_key, number)
                    number += 1
            except BrokenArrayError as error:
                size = self.num_bytes
                lost = int(size * MISSING_END) if array.ended else max(0, size - array.consumed)
                yield BadRecord(BROKEN_JSON, number, f"{error}; what follows is not read", lost)

    def place(self, position: int) -> str:
        """`file: element N`."""
        return f"{self.path}: element {position + 1:,}"


def _of_object(record: Any, text_key: str, position: int) -> Document | BadRecord:
    """The document in an object."""
    if not isinstance(record, dict):
        return BadRecord(BROKEN_JSON, position, f"expected an object, found {type(record).__name__}")
    try:
        return Document(find_text(record, text_key).removeprefix(MARK), position)
    except NoTextError as error:
        return BadRecord(NO_TEXT_KEY, position, str(error))


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
                yield too_large(number, text_bytes(path))
            elif fault := not_text(data):
                yield BadRecord(OTHER_CONTENT, number, fault)
            else:
                yield _of_text(data, number)

    def place(self, position: int) -> str:
        """The file's path."""
        return f"{self.files[position]}:1"


def _of_text(data: bytes, position: int) -> Document | BadRecord:
    try:
        return Document(join_lines(decode_text(data)), position)
    except UnicodeDecodeError as error:
        return BadRecord(NOT_UTF8, position, str(error))


def too_large(position: int, size: int) -> BadRecord:
    """What is wrong with a document of so many bytes."""
    detail = (
        f"{size:,} bytes without an end, at most {MAX_DOCUMENT_BYTES:,} are read as a document; cut it into several"
    )
    return BadRecord(DOCUMENT_TOO_LARGE, position, detail, size)


def decode(data: bytes, position: int) -> Document | BadRecord:
    """A document of UTF-8 bytes, without a byte-order mark, or what is wrong with them."""
    try:
        return Document(data.decode("utf-8").removeprefix(MARK), position)
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


def is_json_lines(head: bytes) -> bool:
    """Whether a file that begins so has an object in its first line."""
    head = head.removeprefix(MARK.encode()).lstrip()
    return bool(_OBJECT.match(head))


def is_text(head: bytes) -> bool:
    """Whether a file that begins so is plain text: UTF-8, or what a byte-order mark announces, and no JSON or XML."""
    if not marked_encoding(head):
        try:
            codecs.getincrementaldecoder("utf-8")().decode(head, final=len(head) < HEAD_BYTES)
        except UnicodeDecodeError:
            return False
    if not marked_encoding(head) and _CONTROL.search(head):
        return False
    return bool(head.strip()) and not is_json_lines(head) and not _TAG.match(head)


def _not_objects(head: bytes) -> str:
    """What is wrong with a file that begins so and holds no objects, one per line or in an array, and the remedy."""
    data = head.removeprefix(MARK.encode())
    if _ONE_VALUE.match(data) and not is_array_of_objects(data):
        return (
            "one JSON value, and neither an object per line nor an array of objects; convert it, as `jq -c '.[]'` does "
            "for a list of objects, `jq -c '.KEY[]'` for one under a key"
        )
    return "" if data.lstrip()[:1] in (b"{", b"[") else not_text(head)


JSONL = Form(
    "jsonl",
    (".jsonl", ".ndjson", ".jsonlines", ".jl"),
    lambda head: is_json_lines(head) or is_array_of_objects(head),
    refuses=_not_objects,
)
FILES = Form(
    "file", (".txt", ".text", ".md", ".markdown"), is_text, any_suffix=False, with_readmes=True, refuses=not_text
)


def plan_jsonl(
    path: Path, split_bytes: int, text_key: str, search: FileSearch | None = None
) -> list[JsonLines | JsonObjects]:
    """Splits of a file of JSON objects, or of all in a directory.

    Raises:
        DataError: nothing is there, a file holds something else, or none of the first records has a text under the key.
    """
    splits: list[JsonLines | JsonObjects] = []
    for file in (search or FileSearch()).files(path, JSONL):
        head = read_head(file)
        if problem := _not_objects(head):
            raise DataError(f"{file}: {problem}")
        is_array = is_array_of_objects(head)
        if not splits:
            _check_key(JsonObjects(file, text_key) if is_array else JsonLines(file, 0, None, text_key))
        if is_array:
            splits.append(JsonObjects(file, text_key))
        else:
            splits += [JsonLines(*part, text_key) for part in cut(file, split_bytes, skip_line)]
    return splits


def _check_key(lines: JsonLines | JsonObjects) -> None:
    """Checks the key before the work begins: most often a wrong one is wrong in every record.

    Raises:
        DataError: none of the first records has a text under it.
    """
    first = [*islice(lines.records(), _FIRST_RECORDS)]
    if first and all(isinstance(record, BadRecord) and record.kind == NO_TEXT_KEY for record in first):
        assert isinstance(first[0], BadRecord)
        raise DataError(f"{lines.place(first[0].position)}: {first[0].detail}")


def plan_files(path: Path, split_bytes: int, search: FileSearch | None = None) -> list[WholeFiles]:
    """Splits of a text or Markdown file, or of all in a directory: runs of files of about `split_bytes` together."""
    return [WholeFiles(files) for files in group_files((search or FileSearch()).files(path, FILES), split_bytes)]


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


def cut(file: Path, split_bytes: int, skip: Callable[[BinaryIO], object]) -> Iterator[tuple[Path, int, int | None]]:
    """Cuts a file about every `split_bytes` bytes, where `skip` stops after being put there."""
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
    """Checks that a file which is read by lines does not say that it is UTF-16 or UTF-32.

    Raises:
        DataError: it does.
    """
    encoding = marked_encoding(file.peek(4)[:4])
    if encoding not in ("", "UTF-8"):
        raise DataError(
            f"{path}: {encoding} by its byte-order mark, and files of many documents are read as UTF-8; convert it: "
            f"iconv -f {encoding} -t UTF-8 FILE > CONVERTED"
        )


def skip_line(file: BinaryIO) -> int:
    """Reads to the end of the line, a megabyte at a time; the number of bytes."""
    size = 0
    while part := file.readline(CHUNK_BYTES):
        size += len(part)
        if part.endswith(b"\n"):
            break
    return size
