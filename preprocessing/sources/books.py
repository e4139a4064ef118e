"""Books: plain text, Markdown and EPUB, in a directory, a tar or a zip file; one book is one document.

An archive is read member by member; nothing is unpacked to disk, and paths in it are names for the report. A tar file
is one split, because a compressed one cannot be entered in the middle; a zip file is cut into runs of members. Files in
a directory come in the order of their paths, members in that of the archive. An archive in a directory is read as well.
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
from preprocessing.sources.booktext import BadBookError, decode_book, paragraphs
from preprocessing.sources.compressed import COMPRESSIONS, PACKING_DAMAGE, open_text, without_compression
from preprocessing.sources.content import foreign_content, html_fault, is_html
from preprocessing.sources.documents import (
    BOOK_TOO_LARGE,
    CONTRADICTORY_MARKERS,
    DAMAGED_ARCHIVE,
    DAMAGED_EPUB,
    MISSING_END,
    OTHER_CONTENT,
    UNREADABLE,
    BadRecord,
    Document,
)
from preprocessing.sources.epub import ZIP_DAMAGE, epub_to_text
from preprocessing.sources.filenames import companion, other_form, suffix_of
from preprocessing.sources.gutenberg import strip_boilerplate
from preprocessing.sources.markdown import markdown_to_text
from preprocessing.sources.records import group, is_text
from preprocessing.sources.search import FileSearch, Form
from preprocessing.sources.xhtml import xhtml_to_text

SUFFIXES = (".txt", ".text", ".md", ".markdown", ".epub")
MAX_TEXT_BYTES = 64 << 20
"""Largest text of a book, that of an EPUB unpacked: War and Peace has 3.3 MB. Cleaning takes ten times the text."""
MAX_EPUB_BYTES = 256 << 20
"""Largest EPUB file, pictures included."""

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
_OF_PROCESS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Errors of opening and reading that say nothing about the file: any other one would fail as well."""
_ZIP = b"PK"
_HEAD = 20_000
_COMPRESSED_RATIO = 3
_CHUNK = 1 << 20


@dataclass(frozen=True)
class BookFiles:
    """Files of one book each."""

    files: tuple[Path, ...]

    @property
    def num_bytes(self) -> int:
        """Bytes of the files."""
        return sum(map(_file_bytes, self.files))

    def records(self) -> Iterator[Document | BadRecord]:
        """The books; one that cannot be read is a bad record. A position is the file's number."""
        for number, path in enumerate(self.files):
            try:
                with open_text(path) as file:
                    data = _read(file, path.name)
            except OSError as error:
                if error.errno in _OF_PROCESS:
                    raise
                yield BadRecord(UNREADABLE, number, f"{error.strerror}; put it right, or remove the file")
            else:
                yield from read_book(path.name, data, number)

    def place(self, position: int) -> str:
        """The file's path."""
        return f"{self.files[position]}:1"


@dataclass(frozen=True)
class BookTar:
    """A tar file, compressed or not."""

    path: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """The archive."""
        return (self.path,)

    @property
    def num_bytes(self) -> int:
        """Bytes of the archive, estimated where it is compressed."""
        return self._text_bytes(self.path.stat().st_size)

    def records(self) -> Iterator[Document | BadRecord | ArchiveFiles]:
        """The books up to the end or the first damage, which is a record too; a position is the member's number."""
        number, members = 0, FileCounts()
        with self.path.open("rb") as archive:
            try:
                for number, (name, file, size) in enumerate(self._members(archive)):
                    if file:
                        members.add(_member(name, size))
                    if file and is_book(name):
                        yield from read_book(name, _read(file, name), number)
                    number += 1  # The next one, should its header be damaged.
            except _TAR_DAMAGE as error:
                _raise_if_of_disk(error)
                size = self.path.stat().st_size
                lost = size - archive.tell() or int(size * MISSING_END)
                detail = f"{type(error).__name__}: {error}; what follows is not read, fetch the archive again"
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
        """About how many bytes of text so many bytes of the file hold."""
        return num_bytes * (1 if self.path.suffix.lower() == ".tar" else _COMPRESSED_RATIO)

    def _members(self, file: IO[bytes]) -> Iterator[tuple[str, IO[bytes] | None, int]]:
        """Name, content (None of what is no file) and size of each member; the content before the next is asked for."""
        stream = _OPENERS[_tar_suffix(self.path.name)](file)
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header) as archive:
            while (member := archive.next()) is not None:
                yield member.name, archive.extractfile(member) if member.isreg() else None, member.size
                archive.members.clear()  # type: ignore[attr-defined]  # It would keep all headers.
            while stream.read(_CHUNK):  # To the end, where the checksum is.
                pass


class _Header(tarfile.TarInfo):
    """A member's header; what tarfile takes for the end of the archive, but for the mark of the end, is damage."""

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
class BookZip:
    """Books [start, stop) of a zip file, by their number among its books."""

    path: Path
    start: int
    stop: int
    num_bytes: int
    """Bytes of these books, unpacked."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The archive."""
        return (self.path,)

    def records(self) -> Iterator[Document | BadRecord | ArchiveFiles]:
        """The books; a damaged member is a bad record. A position is the book's number."""
        with zipfile.ZipFile(self.path) as archive:
            if self.start == 0 and (members := _zip_members(archive)).left_out:
                yield ArchiveFiles(str(self.path), members)
            for number, member in enumerate(_zip_books(archive)[self.start : self.stop], self.start):
                try:
                    with archive.open(member) as file:
                        data = _read(file, member.filename)
                except ZIP_DAMAGE as error:
                    _raise_if_of_disk(error)
                    yield BadRecord(DAMAGED_ARCHIVE, number, f"{type(error).__name__}: {error}; fetch it again")
                else:
                    yield from read_book(member.filename, data, number)

    def place(self, position: int) -> str:
        """`archive: member`."""
        with zipfile.ZipFile(self.path) as archive:
            return f"{self.path}: {_zip_books(archive)[position].filename}"


def _raise_if_of_disk(error: Exception) -> None:
    """Raises an error of the disk again, which has a number: that is no damage of the archive.

    But for EINVAL: damaged zip files make zipfile seek to before the start.
    """
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
        raise error


def read_book(name: str, data: bytes, position: int) -> Iterator[Document | BadRecord]:
    """The document in a file's bytes, and what is wrong with it, if anything."""
    try:
        text = _to_text(name, data)
    except BadBookError as error:
        yield BadRecord(error.kind, position, error.detail)
        return
    book = strip_boilerplate(text)
    yield Document("\n".join(paragraphs(text if book is None else book)), position)
    if book is None:
        detail = "START and END do not tell where the book is; kept whole, with header and licence: correct the file"
        yield BadRecord(CONTRADICTORY_MARKERS, position, detail)


def _to_text(name: str, data: bytes) -> str:
    """Text in which blank lines separate blocks."""
    if len(data) > _max_bytes(name):
        remedy = "a corpus in one file is read with text: or jsonl:"
        raise BadBookError(BOOK_TOO_LARGE, f"more than {_max_bytes(name):,} bytes; {remedy}")
    is_epub = suffix_of(name) == ".epub"
    if is_epub and data.startswith(_ZIP):
        return epub_to_text(data, MAX_TEXT_BYTES)
    if found := foreign_content(data):
        raise BadBookError(OTHER_CONTENT, f"holds {found}; fetch the book itself, or give the file its true suffix")
    if is_epub and is_html(data[:_HEAD].decode("latin-1"), anywhere=False):
        raise BadBookError(OTHER_CONTENT, "holds an HTML page, not an EPUB; fetch it again")
    if is_epub:
        raise BadBookError(DAMAGED_EPUB, "is not a zip file, as an EPUB is; fetch it again")
    text = decode_book(data)
    is_markdown = suffix_of(name) in (".md", ".markdown")
    if is_html(text, anywhere=not is_markdown):
        return _html_to_text(text)
    return markdown_to_text(text) if is_markdown else text


def _html_to_text(html: str) -> str:
    """The text of a book that is HTML under another name.

    Raises:
        BadBookError: it is an error page, or has too little text to be a book.
    """
    text = xhtml_to_text(html)
    if fault := html_fault(html, text):
        raise BadBookError(OTHER_CONTENT, f"holds {fault}")
    return text


def _read(file: IO[bytes], name: str) -> bytes:
    """A file's bytes, or of a larger one as many as show that it is too large."""
    return file.read(_max_bytes(name) + 1)


def _max_bytes(name: str) -> int:
    return MAX_EPUB_BYTES if suffix_of(name) == ".epub" else MAX_TEXT_BYTES


def is_book(name: str) -> bool:
    """Whether a member of an archive with this name is read."""
    return not companion(name) and suffix_of(name) in SUFFIXES and without_compression(name) == name


def _member(name: str, size: int) -> FoundFile:
    """A member of an archive, with the reason if it is not read."""
    if is_book(name):
        return FoundFile(name, size)
    reason = companion(name)
    return FoundFile(name, size, reason or other_form(name, BOOKS.kind), lost=not reason)


def _zip_members(archive: zipfile.ZipFile) -> FileCounts:
    counts = FileCounts()
    for member in archive.infolist():
        if not member.is_dir():
            counts.add(_member(member.filename, member.file_size))
    return counts


def _is_archive(name: str) -> bool:
    return bool(_tar_suffix(name)) or name.lower().endswith(".zip")


BOOKS = Form("books", SUFFIXES, is_text, has_name=_is_archive, any_suffix=False)


def plan_books(path: Path, split_bytes: int, search: FileSearch | None = None) -> list[BookFiles | BookTar | BookZip]:
    """Splits of a directory of books and archives, a tar or zip file of them, or a single book.

    Raises:
        DataError: nothing is there, no file in it is a book, or a zip file has no list of its members.
    """
    search = search or FileSearch()
    files = search.files(path, BOOKS)
    splits: list[BookFiles | BookTar | BookZip] = []
    for archive in (file for file in files if _is_archive(file.name)):
        if _tar_suffix(archive.name):
            splits.append(BookTar(archive))
        elif found := _plan_zip(archive, split_bytes):
            splits += found
        elif archive == path:
            with zipfile.ZipFile(path) as members:
                left_out = _zip_members(members).summary() or "it is empty"
            raise DataError(f"{path}: no member is read as books ({', '.join(SUFFIXES)}); left out: {left_out}")
        else:
            search.leave_out(archive, "zip file without a book")
    books = [file for file in files if not _is_archive(file.name)]
    return [*(BookFiles(together) for together in group(books, _file_bytes, split_bytes)), *splits]


def _file_bytes(path: Path) -> int:
    """Bytes of a file; 0 where that cannot be told, as of a link to nowhere, which is a bad record when it is read."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _plan_zip(path: Path, split_bytes: int) -> list[BookZip]:
    """Runs of the books of a zip file; none if it has no book."""
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = [member.file_size for member in _zip_books(archive)]
    except ZIP_DAMAGE as error:
        _raise_if_of_disk(error)
        raise DataError(f"{path}: damaged zip file ({error}); fetch it again") from None
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


def _tar_suffix(name: str) -> str:
    """The suffix that names a tar file's compression; empty for other files."""
    return next((suffix for suffix in _OPENERS if name.lower().endswith(suffix)), "")
