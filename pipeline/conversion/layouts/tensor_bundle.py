"""A reader of TensorFlow's checkpoints (version 2 of the format, "TensorBundle"), without TensorFlow.

    PREFIX.index                  a table of LevelDB: name -> BundleEntryProto; the empty name -> BundleHeaderProto
    PREFIX.data-00000-of-00001    the tensors, little-endian, at the offsets that the entries state

A table ends with a footer of 48 bytes, which holds the place of its index block and a magic number; the index block
holds the places of the blocks with the entries. Every block, and every tensor, has a masked CRC-32C, and all that are
read are compared. Blocks that are compressed with snappy are refused: TensorFlow itself writes none.

Sources: tensorflow/core/util/tensor_bundle/, tensorflow/core/protobuf/tensor_bundle.proto, leveldb doc/table_format.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.checkpoints import model_files
from pipeline.conversion.layouts.crc32c import crc32c, masked

MAGIC = bytes.fromhex("57fb808b247547db")
FOOTER, TRAILER = 48, 5
"""Bytes of the footer, and of what follows a block: its kind of compression and its CRC."""
LARGEST_INDEX, LARGEST_SIZE = 64 << 20, 1 << 40
TYPES = {1: torch.float32, 2: torch.float64, 3: torch.int32, 9: torch.int64, 14: torch.bfloat16, 19: torch.float16}
"""Numbers of types in TensorFlow (types.proto)."""


@dataclass(frozen=True)
class Entry:
    """The place of a tensor."""

    path: Path
    """File of its values."""
    dtype: int
    shape: tuple[int, ...]
    offset: int
    size: int
    """Number of bytes."""
    crc: int
    """Masked CRC-32C of the values."""
    is_sliced: bool
    """Whether the values are in several pieces under other names."""


def entries(index: Path) -> dict[str, Entry]:
    """Return the tensors of a checkpoint by name.

    Raises:
        ValueError: the index is no table, damaged, compressed, or of a big-endian machine; or a file of values is
            missing. The message names the file.
    """
    if index.stat().st_size > LARGEST_INDEX:
        raise ValueError(f"{index}: {index.stat().st_size:,} bytes, at most {LARGEST_INDEX:,} are read")
    data = index.read_bytes()
    try:
        table = dict(_table(data))
        shards = _header(table.pop(b""))
        found = {name.decode(): _entry(index, value, shards) for name, value in table.items()}
    except (IndexError, KeyError, UnicodeDecodeError) as error:
        raise ValueError(f"{index}: damaged ({type(error).__name__}: {error}); get it from its source again") from None
    except ValueError as error:
        raise ValueError(f"{index}: {error}; get it from its source again") from None
    for path in {entry.path for entry in found.values()}:
        if model_files.find(path.parent, path.name) is None:
            raise ValueError(f"{path}: missing; copy it beside {index.name}")
    return found


def outline(name: str, entry: Entry) -> Tensor:
    """Return a tensor without memory.

    Raises:
        ValueError: it has another type, is in pieces, or its file or number of bytes does not fit its shape.
    """
    if entry.dtype not in TYPES or entry.is_sliced:
        what = "is stored in slices" if entry.is_sliced else f"has the type {entry.dtype} of TensorFlow"
        raise ValueError(f"{entry.path}: {name} {what}, which is not read; save the checkpoint without partitions")
    empty = torch.empty(entry.shape, dtype=TYPES[entry.dtype], device="meta")
    if empty.nbytes != entry.size or entry.offset + entry.size > entry.path.stat().st_size:
        raise ValueError(
            f"{entry.path}: {name} has shape {entry.shape} and {entry.size:,} bytes at {entry.offset:,}, which do not "
            "fit each other or the file; get it from its source again"
        )
    return empty


def tensor(name: str, entry: Entry) -> Tensor:
    """Return a tensor whose checksum has been compared.

    Raises:
        ValueError: as `outline`, or the checksum differs.
    """
    empty = outline(name, entry)
    values = np.fromfile(entry.path, np.uint8, entry.size, offset=entry.offset)
    if masked(crc32c(values)) != entry.crc:
        raise ValueError(f"{entry.path}: the CRC-32C of {name} differs; get the file from its source again")
    if not entry.size:  # an empty array has no view of another type
        return torch.empty_like(empty, device="cpu")
    return torch.from_numpy(values).view(empty.dtype).view(empty.shape)


def _table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a table."""
    if data[-len(MAGIC) :] != MAGIC or len(data) < FOOTER:
        raise ValueError("not a table of TensorFlow, or cut short")
    footer = data[-FOOTER:]
    _, at = _handle(footer, 0)  # of the block with further information, which is empty
    place, _ = _handle(footer, at)
    for _, value in _block(data, *place):
        yield from _block(data, *_handle(value, 0)[0])


def _handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    """Return the offset and the size of a block, and the position behind them."""
    offset, at = _varint(data, at)
    size, at = _varint(data, at)
    return (offset, size), at


def _block(data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a block, whose keys are stored without what they share with the one before."""
    end = offset + size
    if end + TRAILER > len(data):
        raise ValueError("a block reaches beyond the end, the file is cut short")
    if masked(crc32c(data[offset : end + 1])) != int.from_bytes(data[end + 1 : end + TRAILER], "little"):
        raise ValueError("the CRC-32C of a block differs")
    if data[end]:
        raise ValueError(f"a block has compression {data[end]} (1: snappy), which is not read; save it uncompressed")
    block = data[offset:end]
    restarts = int.from_bytes(block[-4:], "little")
    at, stop, key = 0, len(block) - 4 * (restarts + 1), b""
    while at < stop:
        shared, at = _varint(block, at)
        added, at = _varint(block, at)
        length, at = _varint(block, at)
        if shared > len(key) or at + added + length > stop:
            raise ValueError("an entry of a block reaches beyond its end")
        key = key[:shared] + block[at : at + added]
        yield key, block[at + added : at + added + length]
        at += added + length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number stored in groups of seven bits, the lowest first, and the position behind it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number has more than 64 bits")


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the numbers and values of a protocol buffer's fields."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            number, at = _varint(data, at)
            yield tag >> 3, number
            continue
        if kind == 2:
            size, at = _varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field has the unknown kind {kind}")
        if at + size > len(data):
            raise ValueError("a field reaches beyond the end of its message")
        piece = data[at : at + size]
        yield tag >> 3, piece if kind == 2 else int.from_bytes(piece, "little")
        at += size


def _header(data: bytes) -> int:
    """Return the number of files with values."""
    fields = dict(_fields(data))
    shards = fields.get(1, 0)
    if fields.get(2, 0) != 0:
        raise ValueError("written on a big-endian machine, which is not read")
    if not isinstance(shards, int) or shards < 1:
        raise ValueError(f"the header states {shards!r} files of values")
    return shards


def _entry(index: Path, data: bytes, shards: int) -> Entry:
    numbers: dict[int, int] = {}
    shape: tuple[int, ...] = ()
    is_sliced = False
    for number, value in _fields(data):
        if number == 2 and isinstance(value, bytes):
            dims = [dict(_fields(dim)) for field, dim in _fields(value) if field == 2 and isinstance(dim, bytes)]
            shape = tuple(int(dim.get(1, 0)) for dim in dims)
            if any(size > LARGEST_SIZE for size in shape):
                raise ValueError(f"a tensor has the shape {shape}")
        elif number == 7:
            is_sliced = True
        elif isinstance(value, int):
            numbers[number] = value
    path = index.with_name(f"{index.name.removesuffix('.index')}.data-{numbers.get(3, 0):05d}-of-{shards:05d}")
    return Entry(
        path=path,
        dtype=numbers.get(1, 0),
        shape=shape,
        offset=numbers.get(4, 0),
        size=numbers.get(5, 0),
        crc=numbers.get(6, 0),
        is_sliced=is_sliced,
    )
