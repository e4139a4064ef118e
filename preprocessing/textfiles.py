"""Text in bytes: UTF-8 with or without a byte-order mark, or the UTF-16 or UTF-32 that such a mark announces.

Editors on Windows write the mark; nothing of it is part of the text.
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
    """The encoding that a byte-order mark at the start of these bytes announces; empty where there is none."""
    return next((encoding for mark, encoding in _MARKS if head.startswith(mark)), "")


def decode_text(data: bytes) -> str:
    """The text of a whole file, without a byte-order mark.

    Raises:
        UnicodeDecodeError: the bytes are not in the encoding that their mark announces, or without one not UTF-8.
    """
    return data.decode(marked_encoding(data) or "UTF-8").removeprefix(MARK)


def read_text(path: Path) -> str:
    """The text of a file, without a byte-order mark; its line ends are `\\n`.

    Raises:
        UnicodeDecodeError: as `decode_text`.
    """
    return decode_text(path.read_bytes()).replace("\r\n", "\n").replace("\r", "\n")
