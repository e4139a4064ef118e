"""Laws of preprocessing/sources/content.py, and of books whose content does not fit their names."""

import bz2
import gzip
import io
import json
import lzma
import zipfile

import pytest

from preprocessing.sources.bookfile import read_book
from preprocessing.sources.content import foreign_content
from preprocessing.sources.documents import DAMAGED_EPUB, OTHER_CONTENT, BadRecord, Document

ERROR_PAGE = (
    '<!DOCTYPE HTML PUBLIC "-//IETF//DTD HTML 2.0//EN">\n<html><head>\n<title>404 Not Found</title>\n</head><body>\n'
    "<h1>Not Found</h1>\n<p>The requested URL /files/76/76-0.txt was not found on this server.</p></body></html>\n"
)
SENTENCE = "It was a dark and stormy night, and all was still."


def html(title, sentences):
    """Return a page of so many paragraphs."""
    body = "".join(f"<p>{SENTENCE.replace('dark', '<i>dark</i>')}</p>\n" for _ in range(sentences))
    return f"<html><head><title>{title}</title></head><body><h2>CHAPTER I</h2>{body}</body></html>"


def make_zip():
    """Return a zip file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", "Text.")
    return file.getvalue()


FOREIGN = {
    "error page": (ERROR_PAGE.encode(), "an HTML page, '404 Not Found'"),
    "error page behind a mark": (b"\xef\xbb\xbf\r\n" + ERROR_PAGE.encode(), "an HTML page, '404 Not Found'"),
    "xhtml error page": (b'<?xml version="1.0"?>\n' + ERROR_PAGE.encode(), "an HTML page, '404 Not Found'"),
    "long error page": (html("503 Service Unavailable", 100).encode(), "an HTML page, '503 Service Unavailable'"),
    "short page": (html("Welcome", 3).encode(), "an HTML page with 1"),
    "xml": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML"),
    "json": (json.dumps({"error": "no such book"}, indent=1).encode(), "JSON"),
    "json lines": (b'{"text": "One."}\n{"text": "Two."}\n', "JSON"),
    "zip": (make_zip(), "a zip file"),
    "gzip": (gzip.compress(b"Text."), "a gzip file"),
    "bzip2": (bz2.compress(b"Text."), "a bzip2 file"),
    "xz": (lzma.compress(b"Text."), "an xz file"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF file"),
    "rtf": (rb"{\rtf1\ansi Text.}", "an RTF file"),
    "mobi": (b"Title".ljust(60, b"\0") + b"BOOKMOBI" + bytes(100), "a Mobipocket"),
    "binary": (b"Character set encoding: ISO-8859-1\n" + bytes(range(256)) * 20, "binary data"),
    "hole": (bytes(5000), "binary data"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "a Git LFS pointer"),
}


@pytest.mark.parametrize("suffix", [".txt", ".md"])
@pytest.mark.parametrize("content", FOREIGN)
def test_what_is_no_text_is_a_bad_record(content, suffix):
    """Other content under the suffix of a text is a bad record that states what the file holds, and
    never a document.
    """
    data, found = FOREIGN[content]
    (record,) = read_book("book" + suffix, data, 7)
    assert isinstance(record, BadRecord) and (record.kind, record.position) == (OTHER_CONTENT, 7)
    assert record.detail.startswith(f"holds {found}")


def test_what_is_no_epub_is_told_by_its_content():
    """An error page, text or PDF under the suffix of an EPUB is a bad record of its kind."""
    for data, kind, found in (
        (ERROR_PAGE.encode(), OTHER_CONTENT, "holds an HTML page, not an EPUB"),
        (b"%PDF-1.4", OTHER_CONTENT, "holds a PDF file"),
        (b"It was night.", DAMAGED_EPUB, "is not a zip file"),
    ):
        (record,) = read_book("book.epub", data, 0)
        assert isinstance(record, BadRecord) and record.kind == kind and record.detail.startswith(found)


@pytest.mark.parametrize("title", ["Emma", "The Comedy of Errors"])
def test_a_book_in_html_is_read_whatever_its_suffix(title):
    """A book in HTML under any suffix is read as text without tags, even if it begins with plain text."""
    text = html(title, 60)
    for data in (text, "<!-- a comment -->\n" + text, "Title: Emma\n\n" + text.replace("<html><head>", "")):
        (document,) = read_book("book.txt", data.encode(), 0)
        assert isinstance(document, Document)
        assert document.text.endswith("\n".join(["CHAPTER I", *[SENTENCE] * 60])) and "<" not in document.text


@pytest.mark.parametrize(
    "text",
    [
        "[Illustration]\n\nIt was night.",
        "[1]\n\n{2}\n\nIt was night.",
        'He read "Start at the <page>, a<b" and wept.',
        "It was night.\x1a",
        "It was <i>night</i>.\n\nHe <b>wept</b>.\n\n" * 100,
        "PK, as they called him, said %PDF.",
    ],
)
def test_marks_in_plain_text_make_no_other_format(text):
    """Brackets, comparisons, DOS's end-of-file mark and tags of emphasis in plain text do not make it
    another format.
    """
    assert foreign_content(text.encode()) is None
    (document,) = read_book("book.txt", text.encode(), 0)
    assert isinstance(document, Document) and len(document.text.split("\n")) >= text.count("night")
    assert "<i>" not in document.text


def test_markdown_may_hold_html():
    """Markdown may have HTML tags, which are removed."""
    (document,) = read_book("a.md", ("Tiger, tiger,<br>burning bright<br/>\n\n" * 40).encode(), 0)
    assert isinstance(document, Document) and document.text.startswith("Tiger, tiger, burning bright\nTiger")
