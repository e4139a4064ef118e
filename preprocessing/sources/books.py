"""Source of books: plain text, Markdown and EPUB, in a directory, a tar or a zip file; one book is one document.

Files of a directory are read in the order of their paths, members in the order of the archive. Archives in a directory
are read as well.
"""

import errno
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from preprocessing.errors import DataError
from preprocessing.sources.bookarchives import BookTar, BookZip, is_archive, split_zip, tar_suffix, zip_members
from preprocessing.sources.bookfile import KIND, SUFFIXES, read_book, read_book_bytes
from preprocessing.sources.byteranges import group
from preprocessing.sources.compressed import open_text
from preprocessing.sources.content import is_text
from preprocessing.sources.documents import UNREADABLE, BadRecord, Document
from preprocessing.sources.search import FileSearch, Form

_OF_PROCESS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Errors of the process, not of the file: reading any other file would fail as well."""


@dataclass(frozen=True)
class BookFiles:
    """Files with one book each."""

    files: tuple[Path, ...]

    @property
    def num_bytes(self) -> int:
        """Total size of the files in bytes."""
        return sum(map(_file_bytes, self.files))

    def records(self) -> Iterator[Document | BadRecord]:
        """The books; a file that cannot be read is a bad record. A position is the index of the file."""
        for number, path in enumerate(self.files):
            try:
                with open_text(path) as file:
                    data = read_book_bytes(file, path.name)
            except OSError as error:
                if error.errno in _OF_PROCESS:
                    raise
                yield BadRecord(UNREADABLE, number, f"{error.strerror}; correct it, or remove the file")
            else:
                yield from read_book(path.name, data, number)

    def place(self, position: int) -> str:
        """The file's path."""
        return f"{self.files[position]}:1"


BOOKS = Form(KIND, SUFFIXES, is_text, has_name=is_archive, any_suffix=False)


def split_books(path: Path, split_bytes: int, search: FileSearch | None = None) -> list[BookFiles | BookTar | BookZip]:
    """Cuts a directory of books and archives, an archive, or a single book into splits.

    Raises:
        DataError: the path does not exist, no file in it is a book, or a zip file has no central directory.
    """
    search = search or FileSearch()
    files = search.files(path, BOOKS)
    splits: list[BookFiles | BookTar | BookZip] = []
    for archive in (file for file in files if is_archive(file.name)):
        if tar_suffix(archive.name):
            splits.append(BookTar(archive))
        elif found := split_zip(archive, split_bytes):
            splits += found
        elif archive == path:
            with zipfile.ZipFile(path) as members:
                left_out = zip_members(members).summary() or "it is empty"
            raise DataError(f"{path}: no member is read as books ({', '.join(SUFFIXES)}); left out: {left_out}")
        else:
            search.leave_out(archive, "zip file without a book")
    books = [file for file in files if not is_archive(file.name)]
    return [*(BookFiles(together) for together in group(books, _file_bytes, split_bytes)), *splits]


def _file_bytes(path: Path) -> int:
    """Size of a file; 0 if it cannot be determined, as for a broken link, which is a bad record when it is read."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
