"""Laws of preprocessing/sources/dumpfile.py; those of the pages in a dump are in test_wikipedia.py."""

import bz2
import gzip

import pytest

from preprocessing.sources.dumpfile import can_be_entered, chunks, missing_end, xml_bytes

PARTS = [b"<page>%d</page>" % number * 50 for number in range(8)]
STREAMS = [bz2.compress(part) for part in PARTS]


def own(path, start, stop):
    """Return the bytes that belong to a range."""
    return b"".join(chunk.data for chunk in chunks(path, start, stop) if chunk.own)


@pytest.mark.parametrize("step", [1, 60, 10**6])
def test_the_ranges_of_a_bz2_file_share_its_streams(tmp_path, step):
    """Each stream of a bz2 file belongs to the one range in which it starts."""
    path = tmp_path / "a.bz2"
    path.write_bytes(b"".join(STREAMS))
    size = path.stat().st_size
    assert b"".join(own(path, start, min(start + step, size)) for start in range(0, size, step)) == b"".join(PARTS)


def test_the_ranges_of_a_plain_file_share_its_bytes(tmp_path):
    """The bytes after a range are read, and do not belong to it."""
    path = tmp_path / "a.xml"
    path.write_bytes(b"".join(PARTS))
    assert own(path, 100, 300) == path.read_bytes()[100:300]
    assert b"".join(chunk.data for chunk in chunks(path, 100, 300)) == path.read_bytes()[100:]


def test_damage_costs_one_stream(tmp_path):
    """A damaged stream is reported with its number, and the streams after it are read."""
    path = tmp_path / "a.bz2"
    damaged = STREAMS[3][:20] + b"\0" * 8 + STREAMS[3][28:]
    path.write_bytes(b"".join([*STREAMS[:3], damaged, *STREAMS[4:]]))
    found = list(chunks(path, 0, path.stat().st_size))
    (told,) = [chunk for chunk in found if chunk.damage]
    assert f"stream at byte {sum(map(len, STREAMS[:3])):,}" in told.damage and told.lost > 0
    assert b"".join(chunk.data for chunk in found).endswith(b"".join(PARTS[4:]))


def test_sizes_are_estimates_of_the_xml(tmp_path):
    """Sizes of compressed files are estimates of their XML, and only plain and bz2 files can be read
    from the middle.
    """
    for name, data in (("a.xml", b"x" * 100), ("a.bz2", bz2.compress(b"x")), ("a.gz", gzip.compress(b"x"))):
        (tmp_path / name).write_bytes(data)
    assert xml_bytes(tmp_path / "a.xml", 10) == 10 < xml_bytes(tmp_path / "a.bz2", 10)
    assert missing_end(tmp_path / "a.xml") == 50
    assert [can_be_entered(tmp_path / name) for name in ("a.xml", "a.bz2", "a.gz")] == [True, True, False]


def test_an_empty_file_has_no_chunk(tmp_path):
    """An empty file, which cannot be mapped into memory, has no chunk."""
    (tmp_path / "a.bz2").touch()
    assert list(chunks(tmp_path / "a.bz2", 0, 0)) == []
