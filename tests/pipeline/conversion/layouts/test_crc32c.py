"""The checksum equals the published values, and that of one byte after another."""

import numpy as np
import pytest

from pipeline.conversion.layouts.crc32c import FEWEST_BYTES, TABLES, crc32c, masked


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_published_values(data, value):
    """RFC 3720 states the checksums of some data."""
    assert crc32c(data) == value


def test_a_stored_checksum_is_masked():
    """A checksum is rotated by 15 bits, and a constant is added."""
    assert masked(0) == 0xA282EAD8 and masked(1 << 15) == 0xA282EAD9 and masked(1) == 0xA284EAD8


@pytest.mark.parametrize("size", [FEWEST_BYTES - 1, FEWEST_BYTES, FEWEST_BYTES + 1, 5 * FEWEST_BYTES + 7])
def test_lanes_equal_one_byte_after_another(size):
    """Long data, which is computed in lanes, has the checksum of the definition."""
    values, register = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8), 0xFFFFFFFF
    for value in values.tolist():
        register = int(TABLES[0, (register ^ value) & 255]) ^ register >> 8
    assert crc32c(values) == register ^ 0xFFFFFFFF
