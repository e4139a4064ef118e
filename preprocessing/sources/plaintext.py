"""Source of plain text files with many documents: separated by blank lines, or as WikiExtractor writes them.

WikiExtractor (https://github.com/attardi/wikiextractor) writes files such as `wiki_00`, with each article between `<doc
id=... title="...">` and `</doc>`, after its title on a line of its own; `&`, `<` and `>` are escaped. The title is left
out, as it is for dumps: it is no sentence.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from preprocessing.sources.byteranges import (
    CHUNK_BYTES,
    MAX_DOCUMENT_BYTES,
    ByteRange,
    TextFile,
    cut,
    decode,
    skip_line,
    too_large,
)
from preprocessing.sources.content import is_text, not_text
from preprocessing.sources.documents import DAMAGED_DUMP, OTHER_CONTENT, BadRecord, Document
from preprocessing.sources.search import FileSearch, Form, read_head

_PAGE = re.compile(rb'(?:\xef\xbb\xbf)?\s*<doc (?=[^>]*\bid=")')
_PAGE_START, _PAGE_END = b"<doc ", b"</doc>"
_TITLE = re.compile(rb'\btitle="(.*)">\s*$')


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
class ExtractedPages(ByteRange):
    """Articles in the format of WikiExtractor."""

    def records(self) -> Iterator[Document | BadRecord]:
        """One record per article that has text; an article without `</doc>` is a bad record."""
        lines: list[bytes] = []
        first = size = 0
        for start, end, line in self.lines():
            if line.startswith(_PAGE_START):
                if size:
                    yield _cut_off(first)
                lines, first, size = [line], start, end - start
            elif line.startswith(_PAGE_END) and size:
                if len(lines) > 1:
                    yield _page(lines, first, size)
                lines, size = [], 0
            elif size:
                lines += [line] * bool(line.strip() and size <= MAX_DOCUMENT_BYTES)
                size += end - start
        if size:
            yield _cut_off(first)


@dataclass(frozen=True)
class ForeignFile(TextFile):
    """A file whose name is that of a text file, and whose content is not text."""

    fault: str
    """Description of the content, and the remedy."""

    def records(self) -> Iterator[BadRecord]:
        """One bad record that counts all bytes of the file, since it would have held many documents."""
        yield BadRecord(OTHER_CONTENT, 0, self.fault, self.num_bytes)

    def place(self, position: int) -> str:
        """The file's path."""
        return f"{self.path}:1"


def _page(lines: list[bytes], position: int, size: int) -> Document | BadRecord:
    head, *text = lines
    title = _TITLE.search(head)
    if title and _unescaped(text[0]) == _unescaped(title[1]):
        text = text[1:]
    record = _document(text, position, size)
    return Document(html.unescape(record.text), position) if isinstance(record, Document) else record


def _unescaped(line: bytes) -> str:
    return html.unescape(line.decode(errors="replace")).strip()


def _cut_off(position: int) -> BadRecord:
    return BadRecord(DAMAGED_DUMP, position, "cut off: no </doc> before the next article or the end")


def _document(lines: list[bytes], position: int, size: int) -> Document | BadRecord:
    """The document of these lines, of `size` bytes; a bad record if that is too large."""
    return decode(b"".join(lines), position) if size <= MAX_DOCUMENT_BYTES else too_large(position, size)


def _is_extracted(head: bytes) -> bool:
    return bool(_PAGE.match(head))


TEXT = Form(
    "text",
    (".txt", ".text"),
    lambda head: is_text(head) or _is_extracted(head),
    any_suffix=False,
    refuses=not_text,
)


def split_text(
    path: Path, split_bytes: int, search: FileSearch | None = None
) -> list[TextDocuments | ExtractedPages | ForeignFile]:
    """Cuts a text file, or all in a directory, into splits."""
    splits: list[TextDocuments | ExtractedPages | ForeignFile] = []
    for file in (search or FileSearch()).files(path, TEXT):
        head = read_head(file)
        if fault := not_text(head):
            splits.append(ForeignFile(file, fault))
        elif _is_extracted(head):
            splits += [ExtractedPages(*part) for part in cut(file, split_bytes, _skip_page)]
        else:
            splits += [TextDocuments(*part) for part in cut(file, split_bytes, _skip_document)]
    return splits


def _skip_document(file: BinaryIO) -> None:
    skip_line(file)
    while file.readline(CHUNK_BYTES).strip():
        pass


def _skip_page(file: BinaryIO) -> None:
    skip_line(file)
    while (line := file.readline(CHUNK_BYTES)) and not line.startswith(_PAGE_END):
        pass
