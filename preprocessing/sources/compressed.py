"""Opens a text file as its suffix says: plain, .gz, .bz2, .xz or .zst, in upper or lower case.

If the suffix is none of these, as in `part-00000`, the signature at the start of the file decides.

A compressed file cannot be entered in the middle. Concatenated streams, as pbzip2, pzstd and `cat` write them, are read
as one. If the data after the first stream cannot be read, the standard library's bz2 and lzma ignore it silently; here
it is damage, as it is for gzip.
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
"""Errors raised on reading a damaged compressed file."""
_CHUNK_BYTES = 1 << 18
_LONGEST_ZSTD_WINDOW = 31
"""Binary logarithm of the window of `zstd --long=31` (2 GiB), which some big corpora use; others need a few MB."""


@dataclass(frozen=True)
class Compression:
    """A compression format."""

    name: str
    ratio: float
    """Estimated compression ratio of English text; only sizes partitions and progress bars."""
    open: Callable[[BinaryIO], Any]
    """From the compressed binary file to a stream of its content."""


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
"""Suffixes of files that are not compressed, and so are not opened to look for a signature."""


def compression_of(path: Path) -> Compression | None:
    """The compression of a file, by its suffix, or by its first bytes if the suffix is inconclusive; None if it has
    none."""
    suffix = path.suffix.lower()
    if suffix in COMPRESSIONS:
        return COMPRESSIONS[suffix]
    if suffix in _PLAIN or not path.is_file():
        return None
    with path.open("rb") as file:
        head = file.read(max(map(len, _SIGNATURES)))
    return next((COMPRESSIONS[name] for mark, name in _SIGNATURES.items() if head.startswith(mark)), None)


def is_compressed(path: Path) -> bool:
    """Whether `compression_of` finds a file compressed."""
    return compression_of(path) is not None


def without_compression(name: str) -> str:
    """A file name without the suffix of a compression."""
    return next((name[: -len(suffix)] for suffix in COMPRESSIONS if name.lower().endswith(suffix)), name)


def text_bytes(path: Path) -> int:
    """Bytes of text in a file; estimated if it is compressed."""
    size, compression = path.stat().st_size, compression_of(path)
    return int(size * compression.ratio) if compression else size


@contextmanager
def open_text(path: Path) -> Iterator[BinaryIO]:
    """Yields the uncompressed bytes as a stream, which is seekable only for a plain file.

    Raises:
        DataError: on reading, if a compressed file is damaged or cut short.
    """
    compression = compression_of(path)
    with path.open("rb") as file:
        if compression is None:
            yield file
            return
        try:
            yield compression.open(file)
        except PACKING_DAMAGE as error:
            if isinstance(error, OSError) and error.errno is not None:  # Of the disk; bz2 and gzip give no number.
                raise
            raise DataError(f"{path}: damaged {compression.name} file ({error}); download it again") from None


class _Streams(io.RawIOBase):
    """Raw stream of the content of concatenated compressed streams."""

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
        """The next compressed bytes, with a new decompressor at the start of a stream; None at the end of the file."""
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
        """The bytes after a stream, without the zeros that the xz format allows there and gzip skips as well."""
        packed = self._decompressor.unused_data or self._file.read(_CHUNK_BYTES)
        while packed and not packed.lstrip(b"\0"):
            packed = self._file.read(_CHUNK_BYTES)
        return packed.lstrip(b"\0")
