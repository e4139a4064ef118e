"""Laws of preprocessing/sources/wholefiles.py."""

import bz2
import gzip
import lzma

import pytest

from preprocessing.errors import DataError
from preprocessing.sources import wholefiles
from preprocessing.sources.compressed import zstd
from preprocessing.sources.documents import (
    DOCUMENT_TOO_LARGE,
    NOT_UTF8,
    OTHER_CONTENT,
    BadRecord,
    Document,
)
from preprocessing.sources.plaintext import split_text
from preprocessing.sources.wholefiles import join_lines, split_files

PROSE = "This is a text.\n"
PACK = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd.compress}


def read(splits):
    """Return all records of all splits."""
    return [record for split in splits for record in split.records()]


def test_a_file_too_large_for_a_document_is_told(tmp_path, monkeypatch):
    """A file that is too large for a document is a bad record, and is not read to its end."""
    monkeypatch.setattr(wholefiles, "MAX_DOCUMENT_BYTES", 10)
    for name, text in (("a.txt", "Ten bytes."), ("b.txt", "Eleven byte")):
        (tmp_path / name).write_text(text)
    first, bad = read(split_files(tmp_path, 1))
    assert first.text == "Ten bytes." and (bad.kind, bad.lost_bytes) == (DOCUMENT_TOO_LARGE, 11)


OTHER = {
    "404.txt": (b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title>", "holds an HTML page ('404 Not Found')"),
    "page.md": (b"\n<html><body><p>Text.", "holds an HTML page; download the file again, or put its text in its place"),
    "utf16.txt": ("<html><h1>Error</h1>".encode("utf-16"), "holds an HTML page ('Error')"),
    "paper.txt": (b"%PDF-1.4\n" + PROSE.encode(), "holds a PDF file; put its text in its place, or remove it"),
    "packed.txt": (gzip.compress(PROSE.encode()), "holds a gzip file"),
    "noise.txt": (bytes(range(256)) * 10, "holds binary data"),
    "lines.txt": (b'{"text": "One."}\n{"text": "Two."}\n', "holds JSON, which jsonl: reads"),
    "list.txt": (b'[{"text": "One."},\n{"text": "Two."}]', "holds JSON, which jsonl: reads"),
    "long.txt": (b'{"id": 1, "text": "' + b"Word " * 20_000 + b'"}\n', "holds JSON, which jsonl: reads"),
    "dump.txt": (b'<?xml version="1.0"?><text>One.</text>', "holds XML"),
}
TEXTS = {
    "review.txt": b"Good.<br /><br />" * 50 + PROSE.encode(),
    "intro.md": b'<p align="center"><img src="x.png"></p>\n<!-- No. -->\n' + PROSE.encode(),
    "link.md": b"[A link](http://x) and {braces}.\n",
    "brace.txt": b'{ "quoted" } text\n',
    "old.txt": PROSE.encode() + b"\x1a",
}


@pytest.mark.parametrize("name", OTHER)
def test_other_content_is_no_document(tmp_path, name):
    """In a directory, other content is a bad record that states what it is, and counts by its bytes if it would hold
    many documents.
    """
    data, message = OTHER[name]
    (tmp_path / name).write_bytes(data)
    (tmp_path / "z.txt").write_text(PROSE)
    bad, good = read(split_files(tmp_path, 10**6))
    assert (bad.kind, bad.position) == (OTHER_CONTENT, 0) and bad.detail.startswith(message)
    assert good == Document(PROSE.strip(), 1)
    if name.endswith(".txt"):
        splits = split_text(tmp_path, 10**6)
        bad, good = read(splits)
        assert bad.kind == OTHER_CONTENT and bad.detail.startswith(message) and bad.lost_bytes == len(data)
        assert good.text == PROSE and splits[0].place(bad.position) == f"{tmp_path / name}:1"


@pytest.mark.parametrize("name", TEXTS)
def test_text_with_some_marks_is_text(tmp_path, name):
    """Line breaks of HTML, inline HTML in Markdown, braces, brackets and a final ^Z do not make text another format."""
    (tmp_path / name).write_bytes(TEXTS[name])
    plans = [split_files, split_text][: 1 + name.endswith(".txt")]
    assert all(
        isinstance(*read(plan(place, 10**6)), Document) for plan in plans for place in (tmp_path, tmp_path / name)
    )


def test_a_file_is_a_document_and_a_directory_is_searched(tmp_path):
    """`file:` joins the lines of a paragraph; files of a directory come in the order of their paths, and other suffixes
    are left out.
    """
    for name, text in (("b/x.txt", "Three."), ("a.md", "One\nline.\n\n\nTwo."), ("c.pdf", "no")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    splits = split_files(tmp_path, 1)
    assert read(splits) == [Document("One line.\nTwo.", 0), Document("Three.", 0)]
    assert splits[1].place(0) == f"{tmp_path / 'b/x.txt'}:1"


def test_a_file_that_is_not_utf8_is_a_bad_record(tmp_path):
    """A file in Latin-1 is a bad record, since the encoding is not guessed."""
    (tmp_path / "a.txt").write_bytes(b"caf\xe9")
    for plan in (split_files, split_text):
        (record,) = read(plan(tmp_path / "a.txt", 100))
        assert isinstance(record, BadRecord) and record.kind == NOT_UTF8


def test_files_are_read_in_the_order_of_their_paths(tmp_path):
    """Files are read in the order of their paths, whatever the order of the file system."""
    names = [f"{number * 7 % 50:02d}.txt" for number in range(50)]
    for name in names:
        (tmp_path / name).write_text(name)
    assert [record.text for record in read(split_files(tmp_path, 20))] == sorted(names)


@pytest.mark.parametrize(
    ("name", "message"), [("none", "no such file or directory"), ("", "no file below it is read as file .*it is empty")]
)
def test_nothing_to_read_is_an_error(tmp_path, name, message):
    """A wrong path and an empty directory have different errors."""
    with pytest.raises(DataError, match=message):
        split_files(tmp_path / name, 100)


def test_paragraphs_are_what_blank_lines_separate():
    """Paragraphs are separated by blank lines, and their lines are joined by a space without white space
    at their ends.
    """
    assert join_lines("\n a \nb\n \n\nc\n") == "a b\nc"
