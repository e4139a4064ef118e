"""Laws of preprocessing/sources/plaintext.py on files of WikiExtractor; tests of blank lines are in
test_byteranges.py.
"""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.sources import plaintext
from preprocessing.sources.documents import DAMAGED_DUMP, DOCUMENT_TOO_LARGE, NOT_UTF8, Document
from preprocessing.sources.plaintext import split_text


def page(number, *paragraphs):
    """Return an article as WikiExtractor 3 writes it."""
    url = f"https://en.wikipedia.org/wiki?curid={number}"
    body = "\n\n".join(paragraphs)
    return f'<doc id="{number}" url="{url}" title="Title &amp; {number}">\nTitle &amp; {number}\n\n{body}\n\n</doc>\n'


def read(path, split_bytes=10**6):
    """Return all records of a file."""
    return [record for split in split_text(path, split_bytes) for record in split.records()]


@given(st.lists(st.lists(st.sampled_from(["One.", "Two &lt; three.", "Über."])), max_size=8), st.integers(1, 300))
def test_articles_are_documents_however_the_file_is_cut(tmp_path_factory, articles, split_bytes):
    """Articles are documents without tags and title, with entities resolved, at any split size; articles without text
    give none.
    """
    path = tmp_path_factory.mktemp("wiki") / "wiki_00"
    path.write_text("".join(page(number, *article) for number, article in enumerate(articles)), encoding="utf-8")
    expected = ["".join(f"{line}\n" for line in article).replace("&lt;", "<") for article in articles if article]
    assert [record.text for record in read(path, split_bytes) if record.text] == expected


def test_the_file_may_be_compressed_or_have_another_name(tmp_path):
    """The file may be compressed, have another name or a byte-order mark, and a first line that is not the title is
    kept.
    """
    data = (page(1, "One.") + '<doc id="2" title="Zwei">\nText.\n</doc>\n').encode()
    for name, packed in (("wiki_00", data), ("a.txt", b"\xef\xbb\xbf" + data), ("wiki_01.gz", gzip.compress(data))):
        (tmp_path / name).write_bytes(packed)
        assert [record.text for record in read(tmp_path / name)] == ["One.\n", "Text.\n"]
    assert len(read(tmp_path)) == 6


def test_a_bad_article_is_told_and_its_neighbours_are_read(tmp_path, monkeypatch):
    """An article that is truncated, too large or not UTF-8 is a bad record, and the others are read."""
    monkeypatch.setattr(plaintext, "MAX_DOCUMENT_BYTES", 500)
    parts = [page(1, "One."), page(2, "Two.")[:-7], page(3, "x" * 600), page(4, "caf?"), page(5, "Five."), "<doc id="]
    path = tmp_path / "wiki_00"
    path.write_bytes("".join(parts).encode().replace(b"?\n", b"\xe9\n"))
    records = read(path)
    kinds = [record.text if isinstance(record, Document) else record.kind for record in records]
    assert kinds == ["One.\n", DAMAGED_DUMP, DOCUMENT_TOO_LARGE, NOT_UTF8, "Five.\n", DAMAGED_DUMP]
    (split,) = split_text(path, 10**6)
    assert split.place(records[1].position) == f"{path}:7"


@pytest.mark.parametrize("text", ["<doc> is a tag.\n", "A <doc id=1> in a line.\n"])
def test_other_text_is_read_as_it_is(tmp_path, text):
    """A file that does not begin with an article is read as it is."""
    (tmp_path / "a.txt").write_text(text)
    assert [record.text for record in read(tmp_path / "a.txt")] == [text]
