"""Makes a document from the bytes of one book in plain text, Markdown, EPUB or HTML."""

from collections.abc import Iterator
from typing import IO

from preprocessing.sources.booktext import BadBookError, decode_book, paragraphs
from preprocessing.sources.compressed import without_compression
from preprocessing.sources.content import foreign_content, html_fault, is_html
from preprocessing.sources.documents import (
    BOOK_TOO_LARGE,
    CONTRADICTORY_MARKERS,
    DAMAGED_EPUB,
    OTHER_CONTENT,
    BadRecord,
    Document,
)
from preprocessing.sources.epub import epub_to_text
from preprocessing.sources.filenames import companion, suffix_of
from preprocessing.sources.gutenberg import strip_boilerplate
from preprocessing.sources.markdown import markdown_to_text
from preprocessing.sources.xhtml import xhtml_to_text

KIND = "books"
"""Name of this kind of source in `--sources`."""
SUFFIXES = (".txt", ".text", ".md", ".markdown", ".epub")
MAX_TEXT_BYTES = 64 << 20
"""Largest text of a book, for an EPUB uncompressed: War and Peace has 3.3 MB. Cleaning needs ten times its memory."""
MAX_EPUB_BYTES = 256 << 20
"""Largest EPUB file, pictures included."""

_ZIP = b"PK"
_HEAD = 20_000


def read_book(name: str, data: bytes, position: int) -> Iterator[Document | BadRecord]:
    """Yields the document in a file's bytes, and a bad record if something is wrong with it."""
    try:
        text = _to_text(name, data)
    except BadBookError as error:
        yield BadRecord(error.kind, position, error.detail)
        return
    book = strip_boilerplate(text)
    yield Document("\n".join(paragraphs(text if book is None else book)), position)
    if book is None:
        detail = "START and END markers contradict each other; the file is kept with header and licence: correct it"
        yield BadRecord(CONTRADICTORY_MARKERS, position, detail)


def _to_text(name: str, data: bytes) -> str:
    """The text of a book file, with blank lines between blocks.

    Raises:
        BadBookError: the file is too large, damaged, or no book.
    """
    if len(data) > _max_bytes(name):
        remedy = "a corpus in one file is read with text: or jsonl:"
        raise BadBookError(BOOK_TOO_LARGE, f"more than {_max_bytes(name):,} bytes; {remedy}")
    is_epub = suffix_of(name) == ".epub"
    if is_epub and data.startswith(_ZIP):
        return epub_to_text(data, MAX_TEXT_BYTES)
    if found := foreign_content(data):
        raise BadBookError(OTHER_CONTENT, f"holds {found}; download the book itself, or give the file its true suffix")
    if is_epub and is_html(data[:_HEAD].decode("latin-1"), anywhere=False):
        raise BadBookError(OTHER_CONTENT, "holds an HTML page, not an EPUB; download it again")
    if is_epub:
        raise BadBookError(DAMAGED_EPUB, "is not a zip file, as an EPUB is; download it again")
    text = decode_book(data)
    is_markdown = suffix_of(name) in (".md", ".markdown")
    if is_html(text, anywhere=not is_markdown):
        return _html_to_text(text)
    return markdown_to_text(text) if is_markdown else text


def _html_to_text(html: str) -> str:
    """The text of a book in HTML under the suffix of another format.

    Raises:
        BadBookError: it is an error page, or has too little text to be a book.
    """
    text = xhtml_to_text(html)
    if fault := html_fault(html, text):
        raise BadBookError(OTHER_CONTENT, f"holds {fault}")
    return text


def read_book_bytes(file: IO[bytes], name: str) -> bytes:
    """The bytes of a file; at most one byte more than the largest size allowed."""
    return file.read(_max_bytes(name) + 1)


def _max_bytes(name: str) -> int:
    return MAX_EPUB_BYTES if suffix_of(name) == ".epub" else MAX_TEXT_BYTES


def is_book(name: str) -> bool:
    """Whether a member of an archive is read as a book, by its name."""
    return not companion(name) and suffix_of(name) in SUFFIXES and without_compression(name) == name
