"""Laws of preprocessing/sources/bookarchives.py."""

import errno
import io
import zipfile
from random import Random

import pytest
from library import (
    PACKERS,
    SUFFIXES,
    make_tar,
    make_zip,
    read,
    texts,
    write,
)

from preprocessing.errors import DataError
from preprocessing.inputs import ArchiveFiles
from preprocessing.sources.books import split_books
from preprocessing.sources.documents import (
    DAMAGED_ARCHIVE,
    BadRecord,
)


def test_a_zip_file_that_cannot_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    """An error of the disk or of permissions is raised unchanged and not called damage, since downloading the file
    again would not help.
    """
    path = write(tmp_path / "a.zip", make_zip({"a.txt": b"One."}))

    def fail(*_):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(zipfile, "ZipFile", fail)
    with pytest.raises(PermissionError, match=r"a\.zip"):
        split_books(path, 100)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_tar_that_was_cut_keeps_what_is_before(tmp_path, suffix):
    """Of a truncated tar file, all books before the end are read, followed by one bad record with its place."""
    random = Random(0)
    members = {f"{number}.txt": random.randbytes(400).hex().encode() for number in range(6)}
    packed = PACKERS[suffix](make_tar(members))
    whole = texts(read(write(tmp_path / f"a{suffix}", packed)))
    assert len(whole) == 6
    end = len(packed.rstrip(b"\0")) if suffix == ".tar" else len(packed)
    for stop in [*range(0, end, 97), end - 1]:
        *records, bad = read(write(tmp_path / f"a{suffix}", packed[:stop]))
        assert isinstance(bad, BadRecord) and bad.kind == DAMAGED_ARCHIVE
        assert texts(records) == whole[: len(records)]
        (split,) = split_books(tmp_path / f"a{suffix}", 1)
        archive, _, member = split.place(bad.position).partition(": ")
        assert archive == str(tmp_path / f"a{suffix}")
        after = f"after {min(bad.position, len(records) + 2)} members"
        assert member in ("a", "link.txt", f"{len(records)}.txt", after)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_books_lost_with_a_tar_count_by_their_bytes(tmp_path, suffix):
    """Damage in the middle of a tar file costs the rest of the file, a missing end half of the file, and a whole file
    has no loss.
    """
    random = Random(0)
    members = {f"{number}.txt": random.randbytes(40_000).hex().encode() for number in range(12)}
    packed = PACKERS[suffix](make_tar(members))

    def lost_share(data):
        (split,) = split_books(write(tmp_path / f"a{suffix}", data), 1)
        bad = [record for record in split.records() if isinstance(record, BadRecord)]
        return sum(record.lost_bytes for record in bad) / split.num_bytes

    assert lost_share(packed) == 0
    assert lost_share(packed[: len(packed) // 2]) == pytest.approx(0.5, abs=0.01)
    damaged = bytearray(packed)
    third = packed.index(b"\0" * 100, len(packed) // 3) if suffix == ".tar" else len(packed) // 3
    damaged[third - 1000 : third + 1000] = bytes(2000) if suffix != ".tar" else b"?" * 2000
    assert 0.3 < lost_share(bytes(damaged)) < 0.8


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".zip"])
def test_a_damaged_archive_is_never_a_trace(tmp_path, suffix):
    """An archive with any changed byte is read, has bad books, or is one error that names the file."""
    random, members = Random(1), {f"{number}.txt": b"Text of a book. " * 20 for number in range(5)}
    packed = make_zip(members) if suffix == ".zip" else PACKERS[suffix](make_tar(members))
    for _ in range(150):
        data = bytearray(packed)
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
        path = write(tmp_path / f"a{suffix}", data)
        try:
            for split in split_books(path, 400):
                for record in split.records():
                    assert isinstance(record, ArchiveFiles) or split.place(record.position)
        except DataError as error:
            assert str(path) in str(error)


def test_a_damaged_member_of_a_zip_does_not_stop_the_others(tmp_path):
    """A member of a zip file with a wrong checksum is a bad record, and the others are read."""
    data = make_zip({"a.txt": b"One.", "b.txt": b"Two.", "c.txt": b"Three."})
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        start = archive.getinfo("b.txt").header_offset + 35
    path = write(tmp_path / "a.zip", data[:start] + bytes([data[start] ^ 255]) + data[start + 1 :])
    first, bad, last = read(path)
    assert (first.text, bad.kind, last.text) == ("One.", DAMAGED_ARCHIVE, "Three.")
