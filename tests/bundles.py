"""A writer of TensorFlow's checkpoints, for tests of their reader; pieces of it damage them on purpose."""

from pathlib import Path

import numpy as np

from pipeline.conversion.layouts.crc32c import crc32c, masked

MAGIC = 0xDB4775248B80FB57
TYPES = {"float32": 1, "float64": 2, "int64": 9, "float16": 19}


def varint(value: int) -> bytes:
    """Return a number in groups of seven bits."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    """Return a field of a protocol buffer with a number."""
    return varint(field << 3) + varint(value)


def message(field: int, content: bytes) -> bytes:
    """Return a field of a protocol buffer with a message."""
    return varint(field << 3 | 2) + varint(len(content)) + content


def entry(array: np.ndarray, offset: int) -> bytes:
    """Return the entry of a tensor in the index."""
    shape = b"".join(message(2, number(1, size)) for size in array.shape)
    crc = masked(crc32c(array.tobytes())).to_bytes(4, "little")
    places = number(4, offset) + number(5, array.nbytes) + varint(6 << 3 | 5) + crc
    return number(1, TYPES[str(array.dtype)]) + message(2, shape) + places


def block(entries: list[tuple[bytes, bytes]]) -> bytes:
    """Return a block whose keys leave out what they share with the one before, but every third one."""
    out, restarts, before = b"", [], b""
    for count, (key, value) in enumerate(entries):
        shared = 0
        if count % 3 == 0:
            restarts.append(len(out))
        else:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    restarts = restarts or [0]
    return out + b"".join(at.to_bytes(4, "little") for at in [*restarts, len(restarts)])


def table(entries: list[tuple[bytes, bytes]], per_block: int = 4, compression: int = 0) -> bytes:
    """Return a table of blocks."""
    data, handles = b"", []

    def append(content: bytes) -> bytes:
        nonlocal data
        handle = varint(len(data)) + varint(len(content))
        content += bytes([compression])
        data += content + masked(crc32c(content)).to_bytes(4, "little")
        return handle

    for start in range(0, len(entries), per_block):
        part = entries[start : start + per_block]
        handles.append((part[-1][0], append(block(part))))
    footer = append(block([])) + append(block(handles))
    return data + footer.ljust(40, b"\0") + MAGIC.to_bytes(8, "little")


def write_bundle(prefix: Path, arrays: dict[str, np.ndarray], compression: int = 0, header: bytes = b"") -> None:
    """Write a checkpoint of two files, PREFIX.index and PREFIX.data-00000-of-00001."""
    entries, data = [(b"", header or number(1, 1) + message(3, number(1, 1)))], b""
    for name in sorted(arrays):
        entries.append((name.encode(), entry(arrays[name], len(data))))
        data += arrays[name].tobytes()
    prefix.with_name(f"{prefix.name}.index").write_bytes(table(entries, compression=compression))
    prefix.with_name(f"{prefix.name}.data-00000-of-00001").write_bytes(data)
