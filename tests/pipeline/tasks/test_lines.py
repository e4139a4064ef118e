"""Lines have numbers, and a line that is no UTF-8 text is named."""

import pytest

from pipeline.tasks.lines import is_text, numbered_lines


def test_lines_have_numbers(tmp_path):
    """Only a line feed ends a line, and a byte order mark belongs to none."""
    (tmp_path / "a").write_bytes("\ufeffa\r\nb\u2028c\rd\n\ne".encode())
    assert list(numbered_lines(tmp_path / "a")) == [(1, "a\r\n"), (2, "b\u2028c\rd\n"), (3, "\n"), (4, "e")]


def test_the_line_that_is_no_text_is_named(tmp_path):
    """The lines before it are given, however far it is from the beginning."""
    (tmp_path / "a").write_bytes(b"a\n" * 10_000 + b"caf\xe9\n")
    lines = numbered_lines(tmp_path / "a")
    assert [next(lines) for _ in range(10_000)][-1] == (10_000, "a\n")
    with pytest.raises(ValueError, match=r"a:10001: is no UTF-8 text \(.*, byte 4 of the line\); convert it to UTF-8"):
        next(lines)


def test_text_can_be_encoded():
    """Half of a surrogate pair, which JSON can express, is no text."""
    assert is_text("café \U0001f600") and not is_text("\ud83d") and not is_text(5)
