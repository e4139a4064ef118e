"""Reads the elements of a JSON array one by one, in memory proportional to the largest element.

`json.load` would hold the whole file. The parser is that of the standard library, applied to pieces of the file.
"""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

_CHUNK_BYTES = 1 << 20
_BEGINNING = re.compile(rb"(?:\xef\xbb\xbf)?\s*\[\s*\{\s*[\"}]")
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def is_array_of_objects(head: bytes) -> bool:
    """Whether a file that begins with `head` is an array of objects."""
    return bool(_BEGINNING.match(head))


class BrokenArrayError(ValueError):
    """The text is not, or not to its end, a JSON array."""


class ArrayReader:
    """Reader of the JSON array in a file."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        """Opens the reader at the start of the array.

        Args:
            file: binary file in UTF-8, with or without a byte-order mark.
            limit: largest number of characters of an element.
        """
        self._file, self._limit = file, limit
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._text, self._at = "", 0
        self.consumed = 0
        """Number of characters consumed so far."""
        self.ended = False
        """Whether the end of the file was reached."""

    def elements(self) -> Iterator[Any]:
        """Yields the elements in order.

        Raises:
            BrokenArrayError: the rest of the array cannot be parsed.
        """
        self._take("[")
        while self._next() != "]":
            yield self._element()
            if self._next() != "]":
                self._take(",")
        self._take("]")
        if found := self._next():
            raise BrokenArrayError(f"the array ends, but {found!r} follows")

    def _element(self) -> Any:
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
                if end < len(self._text) or self.ended:  # Otherwise a number may continue.
                    self._move(end)
                    return value
                problem = ""
            except json.JSONDecodeError as error:
                problem = error.msg
            except RecursionError:
                raise BrokenArrayError("nested too deeply") from None
            if self.ended:
                raise BrokenArrayError(problem)
            if len(self._text) - self._at > self._limit:
                raise BrokenArrayError(f"{problem}, or longer than {self._limit:,} characters")
            self._read(max(_CHUNK_BYTES, len(self._text) - self._at))

    def _take(self, expected: str) -> None:
        found = self._next()
        if found != expected:
            raise BrokenArrayError(f"expected {expected!r}, found {repr(found) if found else 'the end of the file'}")
        self._move(self._at + 1)

    def _next(self) -> str:
        """The next character that is no white space; empty at the end of the file."""
        while True:
            space = _SPACE.match(self._text, self._at)
            assert space, "the pattern also matches nothing"
            self._move(space.end())
            if self._at < len(self._text) or self.ended:
                return self._text[self._at : self._at + 1]
            self._read(_CHUNK_BYTES)

    def _move(self, place: int) -> None:
        self.consumed += place - self._at
        self._at = place

    def _read(self, size: int) -> None:
        data = self._file.read(size)
        self.ended = not data
        try:
            text = self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            raise BrokenArrayError(f"not UTF-8: {error.reason}") from None
        self._text, self._at = self._text[self._at :] + text, 0
