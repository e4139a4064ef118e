"""Decoding of text files: UTF-8 with or without a byte-order mark, or UTF-16 or UTF-32 with one.

Editors on Windows write the mark, which is not part of the text.
"""

import codecs
from pathlib import Path

MARK = "\ufeff"
_MARKS = (
    (codecs.BOM_UTF8, "UTF-8"),
    (codecs.BOM_UTF32_LE, "UTF-32"),  # Before UTF-16, whose mark is a prefix of this one.
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


def marked_encoding(head: bytes) -> str:
    """The encoding of the byte-order mark at the start of these bytes; empty if there is none."""
    return next((encoding for mark, encoding in _MARKS if head.startswith(mark)), "")


def decode_text(data: bytes) -> str:
    """The text of a whole file, without a byte-order mark.

    Raises:
        UnicodeDecodeError: the bytes are not in the encoding of their byte-order mark, or not UTF-8 without one.
    """
    return data.decode(marked_encoding(data) or "UTF-8").removeprefix(MARK)


def read_text(path: Path) -> str:
    """The text of a file, without a byte-order mark; its line ends are `\\n`.

    Raises:
        UnicodeDecodeError: as for `decode_text`.
    """
    return decode_text(path.read_bytes()).replace("\r\n", "\n").replace("\r", "\n")
