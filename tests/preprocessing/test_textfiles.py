"""Laws of preprocessing/textfiles.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.textfiles import decode_text, marked_encoding, read_text


@given(st.text(st.characters(codec="utf-8", exclude_characters="\ufeff\0")))
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_is_no_text(encoding, text):
    """Whatever encoding it announces, the text is the same; without one it is UTF-8.

    No text begins with NUL: in UTF-16 that would be UTF-32's mark.
    """
    assert decode_text(text.encode(encoding)) == text


@pytest.mark.parametrize("order", ["le", "be"])
def test_both_byte_orders_are_told_apart(order):
    """UTF-32 in little-endian order begins with UTF-16's mark."""
    for bits in (16, 32):
        data = "\ufeffA b".encode(f"utf-{bits}-{order}")
        assert (marked_encoding(data), decode_text(data)) == (f"UTF-{bits}", "A b")
    assert marked_encoding(b"") == marked_encoding(b"text") == ""


@pytest.mark.parametrize("data", [b"caf\xe9", "text".encode("utf-16")[:-1], b"\xff\xfe\x00\xd8"])
def test_other_bytes_are_an_error(data):
    """Nothing is guessed at."""
    with pytest.raises(UnicodeDecodeError):
        decode_text(data)


def test_line_ends_of_all_systems_are_the_same(tmp_path):
    """As Python's text files have it."""
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfone\r\ntwo\rthree\n")
    assert read_text(tmp_path / "a") == "one\ntwo\nthree\n"
