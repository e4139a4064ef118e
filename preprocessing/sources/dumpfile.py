"""Reads the bytes of a MediaWiki dump, plain or compressed, from any position; reports damage and the bytes it costs.

A `.bz2` file can be entered wherever one of its streams begins: each begins with a signature of ten bytes. Files of
other compressions are read from their start.
"""

import bz2
import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from preprocessing.sources.compressed import COMPRESSIONS, PACKING_DAMAGE, compression_of, is_compressed, open_text
from preprocessing.sources.documents import MISSING_END

_PACKED_RATIO = 4
"""Estimated compression ratio of XML; only sizes splits, partitions and progress bars."""
_CHUNK = 1 << 20
"""Bytes of XML read at a time."""
_BZ2_CHUNK = 1 << 16
"""Bytes of compressed XML read at a time."""
_STREAM = re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)")
"""Start of a bz2 stream: its header and the mark of its first block, or of its end."""


class Chunk(NamedTuple):
    """A run of bytes of XML, in the order of the file."""

    data: bytes
    own: bool
    """Whether the bytes belong to the range; otherwise they follow it."""
    damage: str = ""
    """Description of damage in the compressed data that follows; empty if there is none."""
    lost: int = 0
    """Estimated bytes of XML lost by this damage."""


def chunks(path: Path, start: int, stop: int) -> Iterator[Chunk]:
    """The XML of a plain file's bytes from `start` on, or of the bz2 streams that start there or later, to the end.

    A file of another compression is read whole, by the range that starts at 0.
    """
    if path.stat().st_size == 0:  # An empty file cannot be mapped into memory.
        return iter(())
    if is_bz2(path):
        return _bz2_chunks(path, start, stop)
    return _packed_chunks(path) if is_compressed(path) else _plain_chunks(path, start, stop)


def can_be_entered(path: Path) -> bool:
    """Whether a dump can be read from positions other than its start."""
    return is_bz2(path) or not is_compressed(path)


def _packed_chunks(path: Path) -> Iterator[Chunk]:
    with open_text(path) as file:
        reader: Any = file
        try:
            while data := reader.read1(_CHUNK):  # Also the bytes before damage, which read() would drop.
                yield Chunk(data, own=True)
        except PACKING_DAMAGE as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            yield Chunk(b"", True, f"damaged compressed data ({error})", missing_end(path))


def _plain_chunks(path: Path, start: int, stop: int) -> Iterator[Chunk]:
    with path.open("rb") as file:
        file.seek(start)
        while start < stop and (data := file.read(min(_CHUNK, stop - start))):
            yield Chunk(data, own=True)
            start += len(data)
        while data := file.read(_CHUNK):
            yield Chunk(data, own=False)


def _bz2_chunks(path: Path, start: int, stop: int) -> Iterator[Chunk]:
    """The streams that start in [start, stop), then those that follow; a damaged one up to its damage."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        stream = _STREAM.search(data, start)
        while stream:
            offset, own = stream.start(), stream.start() < stop
            decompressor = bz2.BZ2Decompressor()
            try:
                while not decompressor.eof:
                    compressed = data[offset : offset + _BZ2_CHUNK] if decompressor.needs_input else b""
                    if decompressor.needs_input and not compressed:
                        raise EOFError("the file ends in the middle of a stream")
                    yield Chunk(decompressor.decompress(compressed, _CHUNK), own)
                    offset += len(compressed)
            except (OSError, EOFError) as error:
                damage = f"damaged bz2 data in the stream at byte {stream.start():,} ({error})"
                stream = _STREAM.search(data, stream.end())
                lost = xml_bytes(path, (stream.start() if stream else len(data)) - offset) or missing_end(path)
                yield Chunk(b"", own, damage, lost)
                continue
            offset -= len(decompressor.unused_data)
            stream = _STREAM.match(data, offset)
            if not stream and offset < len(data):
                damage = f"damaged bz2 data: no stream starts at byte {offset:,}, where one ended"
                stream = _STREAM.search(data, offset)
                lost = xml_bytes(path, (stream.start() if stream else len(data)) - offset)
                yield Chunk(b"", own, damage, lost)


def xml_bytes(path: Path, num_bytes: int) -> int:
    """Estimated bytes of XML in this many bytes of the file."""
    return num_bytes * (_PACKED_RATIO if is_compressed(path) else 1)


def missing_end(path: Path) -> int:
    """Bytes of XML counted as lost when a dump stops before its end."""
    return int(xml_bytes(path, path.stat().st_size) * MISSING_END)


def is_bz2(path: Path) -> bool:
    """Whether the dump is a bz2 file."""
    return compression_of(path) is COMPRESSIONS[".bz2"]
