"""Laws of preprocessing/textfiles.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.textfiles import decode_text, marked_encoding, read_text


@given(st.text(st.characters(codec="utf-8", exclude_characters="\ufeff\0")))
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_is_no_text(encoding, text):
    """Text is the same with any byte-order mark, and without one it is UTF-8.

    Texts that begin with NUL are excluded: in UTF-16 they would begin with UTF-32's mark.
    """
    assert decode_text(text.encode(encoding)) == text


@pytest.mark.parametrize("order", ["le", "be"])
def test_both_byte_orders_are_told_apart(order):
    """UTF-32 in little-endian order, which begins with UTF-16's mark, is recognised."""
    for bits in (16, 32):
        data = "\ufeffA b".encode(f"utf-{bits}-{order}")
        assert (marked_encoding(data), decode_text(data)) == (f"UTF-{bits}", "A b")
    assert marked_encoding(b"") == marked_encoding(b"text") == ""


@pytest.mark.parametrize("data", [b"caf\xe9", "text".encode("utf-16")[:-1], b"\xff\xfe\x00\xd8"])
def test_other_bytes_are_an_error(data):
    """Bytes in another encoding are an error."""
    with pytest.raises(UnicodeDecodeError):
        decode_text(data)


def test_line_ends_of_all_systems_are_the_same(tmp_path):
    """Line ends are those of Python's text files."""
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfone\r\ntwo\rthree\n")
    assert read_text(tmp_path / "a") == "one\ntwo\nthree\n"
