"""CRC-32C (Castagnoli), the checksum of TensorFlow's files, for tensors of hundreds of megabytes.

A CRC is linear over GF(2): long data is divided into lanes of equal length, whose registers numpy computes together,
four bytes at a time, and whose results are then joined in pairs. Source: RFC 3720, appendix B.4 (polynomial and test
values).
"""

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]

POLYNOMIAL = 0x82F63B78
"""Reflected polynomial."""
MASK = 0xA282EAD8
LANES, FEWEST_BYTES = 1 << 14, 1 << 13
"""Largest number of lanes; fewer bytes than FEWEST_BYTES are computed one after another."""


def crc32c(data: bytes | NDArray[np.uint8]) -> int:
    """Return the CRC-32C of bytes."""
    values = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data
    register = 0xFFFFFFFF
    while len(values) >= FEWEST_BYTES:
        lanes = min(LANES, 1 << (len(values) // 256).bit_length() - 1)
        length = len(values) // (4 * lanes) * 4  # bytes of a lane
        register = _in_lanes(values[: lanes * length].reshape(lanes, length), register)
        values = values[lanes * length :]
    for value in values.tolist():
        register = int(TABLES[0, (register ^ value) & 255]) ^ register >> 8
    return register ^ 0xFFFFFFFF


def masked(crc: int) -> int:
    """Return the form in which TensorFlow and LevelDB store a CRC, rotated and with a constant added.

    Source: leveldb, util/crc32c.h.
    """
    return ((crc >> 15 | crc << 17) + MASK) & 0xFFFFFFFF


def _tables() -> Words:
    """Return (4, 256) registers after a byte and 0 to 3 further zero bytes."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(POLYNOMIAL), table >> 1)
    tables = [table]
    for _ in range(3):
        tables.append(table[tables[-1] & 255] ^ tables[-1] >> 8)
    return np.stack(tables)


TABLES = _tables()
_HALVES = np.arange(1 << 16)
LOW, HIGH = TABLES[3][_HALVES & 255] ^ TABLES[2][_HALVES >> 8], TABLES[1][_HALVES & 255] ^ TABLES[0][_HALVES >> 8]
"""Registers after four bytes, by the lower and the upper half of the register before."""


def _in_lanes(values: NDArray[np.uint8], register: int) -> int:
    """Return the register after all lanes (L, length), L being a power of two, one lane after another."""
    words = np.ascontiguousarray(values.view("<u4").T)  # (length / 4, L)
    registers = np.zeros(words.shape[1], np.uint32)
    registers[0] = register
    for row in words:
        halves = (registers ^ row).astype("<u4", copy=False).view("<u2")
        registers = LOW.take(halves[0::2]) ^ HIGH.take(halves[1::2])
    shift = _shift(values.shape[1])
    while len(registers) > 1:
        registers = _apply(shift, registers[0::2]) ^ registers[1::2]
        shift = _apply(shift, shift)
    return int(registers[0])


def _shift(length: int) -> Words:
    """Return (32,) the registers of each single bit after `length` zero bytes: a matrix over GF(2)."""
    result = np.uint32(1) << np.arange(32, dtype=np.uint32)
    power = TABLES[0][result & 255] ^ result >> 8  # one byte
    while length:
        if length & 1:
            result = _apply(power, result)
        power = _apply(power, power)
        length >>= 1
    return result


def _apply(matrix: Words, registers: Words) -> Words:
    """Return the products of a matrix (32,) with each of the registers."""
    product = np.zeros_like(registers)
    for bit in range(32):
        product ^= np.where(registers >> np.uint32(bit) & 1, matrix[bit], np.uint32(0))
    return product
