"""Output streams that tolerate the end of their reader, such as a lost connection or a killed `tee`."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

_READER_IS_GONE = (errno.EPIPE, errno.EIO)
"""Errors of a write to a pipe without a reader, and to a closed terminal."""


class _ToleratingStream:
    """A text stream that discards all output after a write has failed because nothing reads it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with self._tolerating():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._tolerating():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _tolerating(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in _READER_IS_GONE:
                raise
            # Redirect the descriptor, not only this object: C libraries and the flush at exit write to it as well.
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)
            with suppress(OSError):
                self._stream.flush()  # discard what is still in the buffer


@contextmanager
def tolerating_closed_output() -> Iterator[None]:
    """Discard output to stdout and stderr whose reader has ended, instead of raising, while the block runs."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, _ToleratingStream(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
