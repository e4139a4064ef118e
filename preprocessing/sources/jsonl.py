"""Sources of JSON objects, each with one document: one object per line (JSON Lines), or an array of objects."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from preprocessing.errors import DataError
from preprocessing.sources.byteranges import MAX_DOCUMENT_BYTES, ByteRange, TextFile, cut, skip_line, too_large
from preprocessing.sources.compressed import open_text
from preprocessing.sources.content import is_json_lines, not_text
from preprocessing.sources.documents import (
    BROKEN_JSON,
    MISSING_END,
    NO_TEXT_KEY,
    NOT_UTF8,
    BadRecord,
    Document,
)
from preprocessing.sources.jsonarray import ArrayReader, BrokenArrayError, is_array_of_objects
from preprocessing.sources.search import FileSearch, Form, read_head
from preprocessing.sources.textkey import NoTextError, find_text
from preprocessing.textfiles import MARK

_FIRST_RECORDS = 100
"""Number of first records that are checked for the key before a job begins."""
_ONE_VALUE = re.compile(rb"\s*(?:\[|\{\s*\n)")
"""Start of a file that is one JSON value instead of one object per line."""


@dataclass(frozen=True)
class JsonLines(ByteRange):
    """Lines that are JSON objects, each with the text of one document under `text_key`; blank lines are skipped."""

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
class JsonObjects(TextFile):
    """A file that is one JSON array of objects, each with the text of one document under `text_key`. It is one
    split."""

    text_key: str

    def records(self) -> Iterator[Document | BadRecord]:
        """One record per element, whose index is its position; reading stops at the first error of syntax."""
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
                yield BadRecord(BROKEN_JSON, number, f"{error}; the rest is not read", lost)

    def place(self, position: int) -> str:
        """`file: element N`."""
        return f"{self.path}: element {position + 1:,}"


def _of_object(record: Any, text_key: str, position: int) -> Document | BadRecord:
    """The document in a JSON object; a bad record if it has none."""
    if not isinstance(record, dict):
        return BadRecord(BROKEN_JSON, position, f"expected an object, found {type(record).__name__}")
    try:
        return Document(find_text(record, text_key).removeprefix(MARK), position)
    except NoTextError as error:
        return BadRecord(NO_TEXT_KEY, position, str(error))


def _not_objects(head: bytes) -> str:
    """Error message for a file that begins with `head` and holds no objects, one per line or in an array; empty if it
    may."""
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


def split_jsonl(
    path: Path, split_bytes: int, text_key: str, search: FileSearch | None = None
) -> list[JsonLines | JsonObjects]:
    """Cuts a file of JSON objects, or all such files in a directory, into splits.

    Raises:
        DataError: there is no file, a file has other content, or none of the first records has text under the key.
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
    """Checks the key on the first records before the work begins: a wrong key is usually wrong in every record.

    Raises:
        DataError: none of the first records has text under it.
    """
    first = [*islice(lines.records(), _FIRST_RECORDS)]
    if first and all(isinstance(record, BadRecord) and record.kind == NO_TEXT_KEY for record in first):
        assert isinstance(first[0], BadRecord), "the condition holds for every first record"
        raise DataError(f"{lines.place(first[0].position)}: {first[0].detail}")
