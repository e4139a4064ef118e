"""Finds the files of a source: the named file, the files that match a pattern, or those of its kind in a directory.

Files of a directory are recognised by their names, and by content if the name is inconclusive (`part-00000`,
`wiki_00`). Every other file is counted with the reason why it is left out.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path
from typing import NamedTuple

from preprocessing.errors import DataError
from preprocessing.files import reading, unreadable
from preprocessing.inputs import FileCounts, FoundFile, LeftOutError
from preprocessing.sources.compressed import is_compressed, open_text, without_compression
from preprocessing.sources.filenames import HIDDEN, PACKED, README, UNFINISHED, companion, other_form, suffix_of
from preprocessing.sources.listing import check_there, matching, no_match, walk

HEAD_BYTES = 1 << 16
"""Number of first bytes by which the content of a file is recognised."""
_POINTER = b"version https://git-lfs.github.com/spec/"
_POINTER_BYTES = (100, 300)
"""Exclusive bounds of the size of a Git LFS pointer file."""
_POINTED = "pointer of Git LFS, not the file (run `git lfs pull`)"
_STAGE_NAME, _OWN = "stage.json", "written by this program"
"""A directory with a file of this name is output of this program, not a source."""
_BROKEN = "broken link"
_SIZE = re.compile(r"^size (\d+)$|/[A-Z0-9]+-s(\d+)-", re.MULTILINE)
_PACKERS = {b"7z\xbc\xaf\x27\x1c": ("7-Zip", "7z x"), b"Rar!": ("RAR", "unrar x"), b"PK\3\4": ("zip", "unzip")}


class _Walked(NamedTuple):
    """A file found by a search."""

    root: Path
    """The directory that was searched; names of files are relative to it."""
    path: Path
    own: bool
    """Whether this program wrote the file."""


@dataclass(frozen=True)
class Form:
    """Rules by which the files of a kind of source are recognised."""

    kind: str
    """Name of the kind in `--sources`."""
    suffixes: tuple[str, ...]
    """Suffixes of its files, in lower case, without those of compressions."""
    has_content: Callable[[bytes], bool]
    """Whether a file whose uncompressed content starts with these bytes is of the kind."""
    has_name: Callable[[str], bool] = lambda name: False
    """Whether a file of this name is of the kind, whatever its suffix."""
    compressed: bool = True
    """Whether compressed files of the kind are read."""
    any_suffix: bool = True
    """Whether content is examined under any suffix, or only if there is none, as for plain text."""
    accompanies: Callable[[str], str] = lambda name: ""
    """Reason to leave out a file that only accompanies data of this kind; empty for others."""
    with_readmes: bool = False
    """Whether a README.txt in a subdirectory is a document."""
    refuses: Callable[[bytes], str] = lambda head: ""
    """Error message for a named file that starts with these bytes; empty if nothing is wrong with it."""

    def names(self, name: str) -> bool:
        """Whether a file of this name is read without examining its content."""
        is_plain = self.compressed or without_compression(name) == name
        return (is_plain and suffix_of(name) in self.suffixes) or self.has_name(name)


class FileSearch:
    """File search of one source, with counts of the files that are left out."""

    def __init__(self) -> None:
        """Creates a search without results."""
        self.counts = FileCounts()
        self.lost: list[Path] = []
        """Files that are left out although they may contain text."""
        self.place = ""
        """The directory or pattern that was searched; empty if a single file was named."""

    def files(self, path: Path, form: Form) -> list[Path]:
        """The named file, or the files of this form below a directory or matching a pattern, sorted by path.

        Raises:
            DataError: the path does not exist, or no file of this form is there.
            OSError: a directory or a file cannot be read.
        """
        try:
            return self._files(path, form)
        except OSError as error:
            if error.filename is None:
                raise
            raise unreadable(Path(error.filename), error) from None

    def _files(self, path: Path, form: Form) -> list[Path]:
        if path.is_file():
            _check_named(path, form)
            return [path]
        self.place = str(path)
        walked = sorted(_walk(path), key=lambda found: found.path)
        found = [*self._accepted(walked, form)]
        if not found:
            self._check_any(path, form)
        _check_packed_once(found)
        return found

    def leave_out(self, path: Path, reason: str) -> None:
        """Counts a file as left out that was counted as read."""
        size = path.stat().st_size
        self.counts.read -= 1
        self.counts.read_bytes -= size
        self.counts.add(FoundFile(str(path), size, reason, lost=True))
        self.lost.append(path)

    def check(self, max_share: float) -> None:
        """Checks that enough of a directory is read.

        Raises:
            LeftOutError: files that are left out have a larger share of the bytes than `max_share`.
        """
        if self.place:
            self.counts.check(self.place, max_share)

    def _accepted(self, found: Iterable[_Walked], form: Form) -> Iterator[Path]:
        for root, path, own in found:
            name = os.path.relpath(path, root)
            reason, lost = (_OWN, False) if own else _reason(path, name, form)
            size = _missing_bytes(path) if reason in (_POINTED, _BROKEN) else _bytes(path)
            self.counts.add(FoundFile(name, size, reason, lost))
            if not reason:
                yield path
            elif lost:
                self.lost.append(path)

    def _check_any(self, path: Path, form: Form) -> None:
        wanted = ", ".join(form.suffixes)
        found = f"left out: {self.counts.summary()}" if self.counts.left_out else "it is empty"
        raise LeftOutError(f"{path}: no file below it is read as {form.kind} ({wanted}); {found}")


def read_head(path: Path) -> bytes:
    """The first bytes of a file, uncompressed; empty if a compressed file is damaged there."""
    try:
        with reading(path), open_text(path) as file:
            return file.read(HEAD_BYTES)
    except DataError:
        return b""


def _walk(path: Path) -> Iterator[_Walked]:
    """Each file below a directory or matching a pattern."""
    if path.is_dir():
        yield from _below(path)
        return
    if not has_magic(str(path)):
        check_there(path)
    if not (matches := matching(path)):
        raise no_match(path)
    for match in matches:
        is_below = "**" in path.parts  # "**" also matches the files below a directory.
        if not match.is_dir() or (is_below and match.is_symlink()):
            yield _Walked(match.parent, match, False)
        elif not is_below:
            yield from _below(match)


def _below(root: Path) -> Iterator[_Walked]:
    own: set[Path] = set()
    for folder, folders, names in walk(root):
        if (_STAGE_NAME in names and folder != root) or folder.parent in own:
            own.add(folder)
        hidden = [name for name in folders if companion(name) == HIDDEN and not os.access(folder / name, os.R_OK)]
        folders[:] = [name for name in folders if name not in hidden]
        links = [name for name in folders if (folder / name).is_symlink()]
        yield from (_Walked(root, folder / name, folder in own) for name in [*names, *links, *hidden])


def _check_named(path: Path, form: Form) -> None:
    """Checks that a file which the user named is not of another format.

    Raises:
        DataError: it begins as a file of another format.
    """
    with path.open("rb") as file:
        packed = file.read(len(_POINTER))
    if packed.startswith(_POINTER):
        raise DataError(f"{path}: is a {_POINTED}")
    for mark, (name, command) in _PACKERS.items():
        if packed.startswith(mark) and not form.names(path.name):
            raise DataError(
                f"{path}: is a {name} archive, which is not read as {form.kind}; unpack it with `{command}`"
            )
    if problem := form.refuses(read_head(path)):
        raise DataError(f"{path}: {problem}")


def _reason(path: Path, name: str, form: Form) -> tuple[str, bool]:
    """The reason why a file of a directory is left out (empty if it is read), and whether it may contain text."""
    reason = companion(name) or form.accompanies(path.name)
    if reason and not (reason == README and form.with_readmes and os.sep in name):
        return reason, reason == UNFINISHED
    if not path.is_file():
        is_ours = _leads_to_nothing(path) and form.names(path.name) and not _missing_bytes(path)
        return ("", False) if is_ours else (_special(path), not path.exists() or path.is_dir())
    size = path.stat().st_size
    if not size and _is_empty(path):
        return "empty", False
    if _POINTER_BYTES[0] < size < _POINTER_BYTES[1] and path.read_bytes().startswith(_POINTER):
        return _POINTED, True
    if form.names(path.name):
        return "", False
    reason = other_form(path.name, form.kind)
    looks = reason != PACKED and (form.any_suffix or not suffix_of(path.name))
    return ("", False) if looks and form.has_content(_content(path, form)) else (reason, True)


def _content(path: Path, form: Form) -> bytes:
    """The first bytes of a file; empty for a compressed file if the form has none."""
    return b"" if is_compressed(path) and not form.compressed else read_head(path)


def _special(path: Path) -> str:
    if path.is_dir():
        return "link to a directory; name it by itself"
    return _BROKEN if _leads_to_nothing(path) else "no regular file"


def _leads_to_nothing(path: Path) -> bool:
    """Whether a path is a broken link or a link to itself.

    A broken link of git-annex represents a file that was not fetched. Any other broken link whose name fits the source
    counts as a file, so that reading it is an error or a bad record: its target may be on a disk that is not mounted.
    """
    return path.is_symlink() and not path.exists()


def _is_empty(path: Path) -> bool:
    """Whether a file of size 0 is empty: files in /proc have size 0 and content, and some cannot be read."""
    with reading(path), path.open("rb") as file:
        return not file.read(1)


def _bytes(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _missing_bytes(path: Path) -> int:
    """The size of the file that a Git LFS pointer or a git-annex link represents; 0 if it does not state it."""
    target = os.readlink(path) if path.is_symlink() else path.read_text(errors="replace")
    found = _SIZE.search(target)
    return int(found[1] or found[2]) if found else 0


def _check_packed_once(files: list[Path]) -> None:
    """Checks that no file is present both compressed and uncompressed, as `gzip --keep` leaves it.

    Raises:
        DataError: a file is.
    """
    known: dict[Path, Path] = {}
    for file in files:
        if (other := known.setdefault(file.with_name(without_compression(file.name)), file)) != file:
            raise DataError(f"{file}: the same data as {other} by its name; all of it would count twice, keep one")
