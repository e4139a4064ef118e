"""Opens a file of text as what its name says: plain, .gz, .bz2, .xz or .zst, in upper or lower case.

A name that says neither, such as `part-00000`, is looked at: compressed files begin with a signature.

A compressed file cannot be entered in the middle. Several streams end to end, as pbzip2, pzstd and `cat` make them,
read as one. If what follows the first stream cannot be read, the standard library's bz2 and lzma leave it out without a
word; here it is damage, as it is for gzip.
"""

import bz2
import gzip
import io
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from preprocessing.errors import DataError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PACKING_DAMAGE = (EOFError, OSError, zlib.error, lzma.LZMAError, zstd.ZstdError)
"""What reading a damaged compressed file raises."""
_CHUNK_BYTES = 1 << 18
_LONGEST_ZSTD_WINDOW = 31
"""Logarithm of the 2 GiB that `zstd --long=31` asks for, as some big corpora do; others need a few MB."""


@dataclass(frozen=True)
class Compression:
    """One way of packing a file."""

    name: str
    ratio: float
    """How many times smaller English text becomes, about; only sizes partitions and progress bars."""
    open: Callable[[BinaryIO], Any]
    """A binary stream of the text in a packed one."""


def _streams(make: Callable[[], Any]) -> Callable[[BinaryIO], BinaryIO]:
    return lambda file: io.BufferedReader(_Streams(file, make), _CHUNK_BYTES)


COMPRESSIONS = {
    ".gz": Compression("gzip", 3, lambda file: gzip.GzipFile(fileobj=file)),
    ".bz2": Compression("bzip2", 4, _streams(bz2.BZ2Decompressor)),
    ".xz": Compression("xz", 4, _streams(lzma.LZMADecompressor)),
    ".zst": Compression(
        "Zstandard",
        3,
        _streams(
            lambda: zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _LONGEST_ZSTD_WINDOW})
        ),
    ),
}


_SIGNATURES = {b"\x1f\x8b": ".gz", b"BZh": ".bz2", b"\xfd7zXZ\0": ".xz", b"\x28\xb5\x2f\xfd": ".zst"}
_PLAIN = {".txt", ".text", ".md", ".markdown", ".json", ".jsonl", ".ndjson", ".xml", ".epub"}
"""Suffixes that say that a file is not compressed; it is not opened to see."""


def compression_of(path: Path) -> Compression | None:
    """How a file is compressed, by its suffix, or by its first bytes where the suffix does not tell."""
    suffix = path.suffix.lower()
    if suffix in COMPRESSIONS:
        return COMPRESSIONS[suffix]
    if suffix in _PLAIN or not path.is_file():
        return None
    with path.open("rb") as file:
        head = file.read(max(map(len, _SIGNATURES)))
    return next((COMPRESSIONS[name] for mark, name in _SIGNATURES.items() if head.startswith(mark)), None)


def is_compressed(path: Path) -> bool:
    """Whether a file is compressed, as `compression_of` finds it."""
    return compression_of(path) is not None


def without_compression(name: str) -> str:
    """A file's name without the suffix of a compression."""
    return next((name[: -len(suffix)] for suffix in COMPRESSIONS if name.lower().endswith(suffix)), name)


def text_bytes(path: Path) -> int:
    """Bytes of text in a file; estimated if it is compressed."""
    size, compression = path.stat().st_size, compression_of(path)
    return int(size * compression.ratio) if compression else size


@contextmanager
def open_text(path: Path) -> Iterator[BinaryIO]:
    """Yields the bytes of the text as a stream; only that of a plain file can seek.

    Raises:
        DataError: on reading, where a compressed file is damaged or cut short.
    """
    compression = compression_of(path)
    with path.open("rb") as file:
        if compression is None:
            yield file
            return
        try:
            yield compression.open(file)
        except PACKING_DAMAGE as error:
            if isinstance(error, OSError) and error.errno is not None:  # The disk's; bz2 and gzip give no number.
                raise
            raise DataError(f"{path}: damaged {compression.name} file ({error}); fetch it again") from None


class _Streams(io.RawIOBase):
    """The text of compressed streams that follow each other."""

    def __init__(self, file: BinaryIO, make: Callable[[], Any]) -> None:
        self._file = file
        self._make = make
        self._decompressor = make()
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        text = b""
        while not text:
            packed = self._next()
            if packed is None:
                return 0
            text = self._decompressor.decompress(packed, len(buffer))
        buffer[: len(text)] = text
        return len(text)

    def _next(self) -> bytes | None:
        """What to decompress next, with a new decompressor where a stream begins; None: the end of the file."""
        if self._ended:
            return None
        if self._decompressor.eof:
            packed = self._after_padding()
            self._decompressor, self._ended = self._make(), not packed
            return packed or None
        if not self._decompressor.needs_input:
            return b""
        packed = self._file.read(_CHUNK_BYTES)
        if not packed:
            raise EOFError("it ends before its end-of-stream marker")
        return packed

    def _after_padding(self) -> bytes:
        """What follows a stream, without the zeros that the xz format allows there, and that gzip skips, too."""
        packed = self._decompressor.unused_data or self._file.read(_CHUNK_BYTES)
        while packed and not packed.lstrip(b"\0"):
            packed = self._file.read(_CHUNK_BYTES)
        return packed.lstrip(b"\0")
