"""Laws of preprocessing/sources/bookfile.py; those of bad books are in test_books.py."""

import pytest
from library import (
    EPUB,
    MARKDOWN,
    PARAGRAPHS,
    TEXT,
    read,
    texts,
    write,
)

from preprocessing.sources.bookfile import is_book


def test_all_forms_of_a_book_give_the_same_paragraphs(tmp_path):
    """Plain text, Markdown and EPUB of a book give the same paragraphs, alone or in an archive."""
    for name, data in {"a.txt": TEXT.encode(), "a.md": MARKDOWN.encode(), "a.epub": EPUB}.items():
        assert texts(read(write(tmp_path / name, data))) == [PARAGRAPHS]
    assert texts(read(tmp_path)) == [PARAGRAPHS] * 3


@pytest.mark.parametrize("name", ["a.txt", "x/a.TEXT", "a.md", "a.utf-8.markdown", "c/d.epub"])
def test_members_with_the_suffix_of_a_book_are_read(name):
    """Upper case and directories make no difference; hidden, compressed and accompanying members are left out."""
    assert is_book(name)
    assert not any(map(is_book, (f"{name}.gz", f".{name.rpartition('/')[2]}", f"{name}.pdf", "README.txt")))
