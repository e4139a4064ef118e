"""Lines of text files with their numbers, for messages that name a line."""

import codecs
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from preprocessing.files import readable


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number of each line of a file, counted from 1, and the line with its line feed.

    Only a line feed ends a line. A byte order mark at the beginning is left out.

    Raises:
        ValueError: a line is no UTF-8 text; the message names it.
        OSError: the file cannot be read.
    """
    with readable(path), path.open("rb") as file:
        yield from decoded_lines(file, str(path))


def decoded_lines(lines: Iterable[bytes], source: str) -> Iterator[tuple[int, str]]:
    """Yield the number of each line and its text, as `numbered_lines`.

    Args:
        lines: the lines.
        source: where they are from, for messages.

    Raises:
        ValueError: a line is no UTF-8 text; the message names it.
    """
    for number, line in enumerate(lines, 1):
        try:
            text = (line.removeprefix(codecs.BOM_UTF8) if number == 1 else line).decode()
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{source}:{number}: is no UTF-8 text ({error.reason}, byte {error.start + 1} of the line); convert it "
                "to UTF-8"
            ) from None
        yield number, text


def is_text(value: Any) -> bool:
    """Return whether a value is text that UTF-8 can represent, as tokenizers require it.

    JSON can express half of a surrogate pair, which no text has.
    """
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False
