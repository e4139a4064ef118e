"""Input splits of books in a tar or zip file, read member by member.

Nothing is unpacked to disk; paths in an archive only name members in the report. A tar file is one split, because a
compressed one cannot be entered in the middle; a zip file is cut into runs of members.
"""

import bz2
import errno
import gzip
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from preprocessing.errors import DataError
from preprocessing.inputs import ArchiveFiles, FileCounts, FoundFile
from preprocessing.sources.bookfile import KIND, is_book, read_book, read_book_bytes
from preprocessing.sources.compressed import COMPRESSIONS, PACKING_DAMAGE
from preprocessing.sources.documents import DAMAGED_ARCHIVE, MISSING_END, BadRecord, Document, SingleFile
from preprocessing.sources.epub import ZIP_DAMAGE
from preprocessing.sources.filenames import companion, other_form

_OPENERS: dict[str, Callable[[Any], Any]] = {
    ".tar": lambda file: file,
    ".tar.gz": gzip.open,
    ".tgz": gzip.open,
    ".tar.bz2": bz2.open,
    ".tbz2": bz2.open,
    ".tar.xz": lzma.open,
    ".txz": lzma.open,
    ".tar.zst": COMPRESSIONS[".zst"].open,
    ".tzst": COMPRESSIONS[".zst"].open,
}
_TAR_DAMAGE = (tarfile.TarError, ValueError, *PACKING_DAMAGE)
_COMPRESSED_RATIO = 3
_CHUNK = 1 << 20


@dataclass(frozen=True)
class BookTar(SingleFile):
    """A tar file of books, compressed or not."""

    @property
    def num_bytes(self) -> int:
        """Size of the archive in bytes; estimated for compressed ones."""
        return self._text_bytes(self.path.stat().st_size)

    def records(self) -> Iterator[Document | BadRecord | ArchiveFiles]:
        """The books up to the end or the first damage, which is a bad record. A position is the index of the member."""
        number, members = 0, FileCounts()
        with self.path.open("rb") as archive:
            try:
                for number, (name, file, size) in enumerate(self._members(archive)):
                    if file:
                        members.add(_member(name, size))
                    if file and is_book(name):
                        yield from read_book(name, read_book_bytes(file, name), number)
                    number += 1  # The next member, in case its header is damaged.
            except _TAR_DAMAGE as error:
                _raise_if_of_disk(error)
                size = self.path.stat().st_size
                lost = size - archive.tell() or int(size * MISSING_END)
                detail = f"{type(error).__name__}: {error}; the rest is not read; download the archive again"
                yield BadRecord(DAMAGED_ARCHIVE, number, detail, self._text_bytes(lost))
        if members.left_out:
            yield ArchiveFiles(str(self.path), members)

    def place(self, position: int) -> str:
        """`archive: member`."""
        with suppress(*_TAR_DAMAGE), self.path.open("rb") as archive:
            for number, (name, _, _) in enumerate(self._members(archive)):
                if number == position:
                    return f"{self.path}: {name}"
        return f"{self.path}: after {position:,} members"

    def _text_bytes(self, num_bytes: int) -> int:
        """Estimated bytes of text in this many bytes of the file."""
        return num_bytes * (1 if self.path.suffix.lower() == ".tar" else _COMPRESSED_RATIO)

    def _members(self, file: IO[bytes]) -> Iterator[tuple[str, IO[bytes] | None, int]]:
        """Name, content (None if it is no file) and size of each member; read the content before the next member."""
        stream = _OPENERS[tar_suffix(self.path.name)](file)
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header) as archive:
            while (member := archive.next()) is not None:
                yield member.name, archive.extractfile(member) if member.isreg() else None, member.size
                archive.members.clear()  # type: ignore[attr-defined]  # Otherwise it keeps all headers.
            while stream.read(_CHUNK):  # Read to the end, where the checksum is.
                pass


class _Header(tarfile.TarInfo):
    """Header of a member. A bad header is damage; tarfile takes it for the end of the archive."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> "_Header":
        """Reads the next header."""
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error}, expected a member or the end of the archive") from None


@dataclass(frozen=True)
class BookZip(SingleFile):
    """Books [start, stop) of a zip file, by index among its books."""

    start: int
    stop: int
    num_bytes: int
    """Uncompressed size of these books in bytes."""

    def records(self) -> Iterator[Document | BadRecord | ArchiveFiles]:
        """The books; a damaged member is a bad record. A position is the index of the book."""
        with zipfile.ZipFile(self.path) as archive:
            if self.start == 0 and (members := zip_members(archive)).left_out:
                yield ArchiveFiles(str(self.path), members)
            for number, member in enumerate(_zip_books(archive)[self.start : self.stop], self.start):
                try:
                    with archive.open(member) as file:
                        data = read_book_bytes(file, member.filename)
                except ZIP_DAMAGE as error:
                    _raise_if_of_disk(error)
                    yield BadRecord(DAMAGED_ARCHIVE, number, f"{type(error).__name__}: {error}; download it again")
                else:
                    yield from read_book(member.filename, data, number)

    def place(self, position: int) -> str:
        """`archive: member`."""
        with zipfile.ZipFile(self.path) as archive:
            return f"{self.path}: {_zip_books(archive)[position].filename}"


def _raise_if_of_disk(error: Exception) -> None:
    """Raises an error of the disk again, which has an error number: it is no damage of the archive.

    EINVAL is damage: damaged zip files make zipfile seek to a position before the start.
    """
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
        raise error


def _member(name: str, size: int) -> FoundFile:
    """The counted file for a member of an archive, with the reason if it is not read."""
    if is_book(name):
        return FoundFile(name, size)
    reason = companion(name)
    return FoundFile(name, size, reason or other_form(name, KIND), lost=not reason)


def zip_members(archive: zipfile.ZipFile) -> FileCounts:
    counts = FileCounts()
    for member in archive.infolist():
        if not member.is_dir():
            counts.add(_member(member.filename, member.file_size))
    return counts


def is_archive(name: str) -> bool:
    return bool(tar_suffix(name)) or name.lower().endswith(".zip")


def split_zip(path: Path, split_bytes: int) -> list[BookZip]:
    """Cuts the books of a zip file into runs; empty if it has no book.

    Raises:
        DataError: the file is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = [member.file_size for member in _zip_books(archive)]
    except ZIP_DAMAGE as error:
        _raise_if_of_disk(error)
        raise DataError(f"{path}: damaged zip file ({error}); download it again") from None
    splits: list[BookZip] = []
    start = size = 0
    for stop, member_size in enumerate(sizes, 1):
        size += member_size
        if size >= split_bytes or stop == len(sizes):
            splits.append(BookZip(path, start, stop, size))
            start, size = stop, 0
    return splits


def _zip_books(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    return [member for member in archive.infolist() if is_book(member.filename)]


def tar_suffix(name: str) -> str:
    """The suffix of a tar file, with its compression; empty for other files."""
    return next((suffix for suffix in _OPENERS if name.lower().endswith(suffix)), "")
