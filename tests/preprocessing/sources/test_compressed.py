"""Laws of preprocessing/sources/compressed.py."""

import bz2
import gzip
import lzma
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.errors import DataError
from preprocessing.sources import compressed
from preprocessing.sources.compressed import (
    COMPRESSIONS,
    is_compressed,
    open_text,
    text_bytes,
    without_compression,
    zstd,
)

PACK = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd.compress}
SUFFIXES = sorted(PACK)
TEXT = "".join(Random(0).choices("abcdefgh \n", k=5000)).encode()


def read(path):
    """Return all the text of a file."""
    with open_text(path) as file:
        return file.read()


def packed(folder, suffix, data):
    """Write a file of this suffix with these bytes."""
    path = folder / f"a.txt{suffix}"
    path.write_bytes(data)
    return path


def test_every_compression_is_tested():
    """Every compression has its line in PACK, so that it is tested."""
    assert COMPRESSIONS.keys() == PACK.keys()


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(parts=st.lists(st.binary(max_size=300), min_size=1, max_size=5), chunk=st.integers(1, 64))
def test_streams_end_to_end_read_as_one(tmp_path_factory, suffix, parts, chunk):
    """Concatenated streams are read as one, wherever the blocks read from disk end."""
    path = packed(tmp_path_factory.mktemp("x"), suffix, b"".join(map(PACK[suffix], parts)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compressed, "_CHUNK_BYTES", chunk)
        assert read(path) == b"".join(parts)


@pytest.mark.parametrize("suffix", ["", *SUFFIXES])
def test_lines_are_those_of_the_plain_file(tmp_path, suffix):
    """The lines of a compressed file are those of the plain file."""
    with open_text(packed(tmp_path, suffix, PACK.get(suffix, bytes)(TEXT))) as file:
        assert list(file) == TEXT.splitlines(keepends=True)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("size", [1, 100, 1 << 20])
def test_the_end_is_the_end_however_often_one_reads(tmp_path, suffix, size):
    """Reading after the end returns nothing, also if more is requested than a buffer holds."""
    with open_text(packed(tmp_path, suffix, PACK[suffix](b"one"))) as file:
        assert b"".join(file.read(size) for _ in range(6)) == b"one"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_cut_short_is_named(tmp_path, suffix):
    """A file that is truncated anywhere is an error with the path."""
    data = PACK[suffix](TEXT)
    for stop in [*range(1, 40), *range(40, len(data), 97), len(data) - 1]:
        with pytest.raises(
            DataError, match=rf"a\.txt\{suffix}: damaged {COMPRESSIONS[suffix].name} file .*download it"
        ):
            read(packed(tmp_path, suffix, data[:stop]))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("rest", [b"junk", b"\0\0junk", b"BZh9junk", b"\x1f\x8b\x08junk"])
def test_what_follows_a_stream_must_be_another(tmp_path, suffix, rest):
    """A second stream that is damaged from its first byte on is an error, and not the end of the file."""
    with pytest.raises(DataError, match="damaged"):
        read(packed(tmp_path, suffix, PACK[suffix](TEXT) + rest))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("zeros", [4, 70])
def test_zeros_between_streams_are_padding(tmp_path, monkeypatch, suffix, zeros):
    """Zeros between streams, as the xz format allows them, are padding."""
    monkeypatch.setattr(compressed, "_CHUNK_BYTES", 16)
    data = PACK[suffix](b"one ") + bytes(zeros) + PACK[suffix](b"two") + bytes(zeros)
    assert read(packed(tmp_path, suffix, data)) == b"one two"


def test_zstd_with_a_long_window_is_read(tmp_path):
    """Zstandard with a long window, which decoders refuse by default, is read, and skippable frames are skipped."""
    options = {zstd.CompressionParameter.window_log: 30, zstd.CompressionParameter.content_size_flag: 0}
    compressor = zstd.ZstdCompressor(options=options)
    data = compressor.compress(TEXT) + compressor.flush()
    skippable = b"\x50\x2a\x4d\x18\x04\x00\x00\x00size"
    assert read(packed(tmp_path, ".zst", skippable + data + skippable)) == TEXT
    with pytest.raises(zstd.ZstdError, match="too much memory"):
        zstd.ZstdDecompressor().decompress(data)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_error_of_the_disk_is_not_called_damage(tmp_path, monkeypatch, suffix):
    """An OSError with an error number is not turned into a DataError."""

    def fail(file):
        raise OSError(5, "Input/output error")

    path = packed(tmp_path, suffix, PACK[suffix](TEXT))
    monkeypatch.setitem(COMPRESSIONS, suffix, compressed.Compression("", 1, fail))
    with pytest.raises(OSError, match="Input/output error"):
        read(path)


def test_sizes_and_suffixes(tmp_path):
    """The size of a plain file is exact, that of a compressed one is estimated, and suffixes may be in upper case."""
    assert text_bytes(packed(tmp_path, "", TEXT)) == len(TEXT)
    assert text_bytes(packed(tmp_path, ".bz2", bytes(100))) == 400
    names = {"x.txt.zst": "x.txt", "X.JSONL.GZ": "X.JSONL", "part-0": "part-0", "a.xml-p1p2.bz2": "a.xml-p1p2"}
    assert {name: without_compression(name) for name in names} == names


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", ["part-00000", "wiki_00", "a.data", "A.TXT{}"])
def test_a_compressed_file_of_any_name_is_read(tmp_path, suffix, name):
    """A compressed file is recognised by its suffix in upper case, or by its first bytes if the suffix says nothing."""
    path = tmp_path / name.format(suffix.upper())
    path.write_bytes(PACK[suffix](TEXT))
    assert is_compressed(path) and read(path) == TEXT
    path.with_name("plain").write_bytes(TEXT)
    assert not is_compressed(path.with_name("plain")) and read(path.with_name("plain")) == TEXT
