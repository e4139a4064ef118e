"""Finds the files of a source: the one that is named, those that match a pattern, or all of a kind in a directory.

A directory's files are told by their names, and where a name tells nothing (`part-00000`, `wiki_00`) by their content.
Every other file is counted with the reason: nothing is left out in silence.
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
"""How much of a file is looked at."""
_POINTER = b"version https://git-lfs.github.com/spec/"
_POINTER_BYTES = (100, 300)
"""A pointer of Git LFS is longer than the one, and shorter than the other."""
_POINTED = "pointer of Git LFS, not the file (run `git lfs pull`)"
_STAGE_NAME, _OWN = "stage.json", "written by this program"
"""A directory that holds such a file was made from sources, and is none."""
_BROKEN = "broken link"
_SIZE = re.compile(r"^size (\d+)$|/[A-Z0-9]+-s(\d+)-", re.MULTILINE)
_PACKERS = {b"7z\xbc\xaf\x27\x1c": ("7-Zip", "7z x"), b"Rar!": ("RAR", "unrar x"), b"PK\3\4": ("zip", "unzip")}


class _Walked(NamedTuple):
    """A file that a search comes by."""

    root: Path
    """The directory from which its name tells something."""
    path: Path
    own: bool
    """Whether a run of this program wrote it."""


@dataclass(frozen=True)
class Form:
    """How the files of a kind of source are recognised."""

    kind: str
    """The kind's name in `--sources`."""
    suffixes: tuple[str, ...]
    """What names them, in lower case, without those of compressions."""
    has_content: Callable[[bytes], bool]
    """Whether a file, unpacked, that starts with these bytes is one."""
    has_name: Callable[[str], bool] = lambda name: False
    """Whether a name without such a suffix is that of one."""
    compressed: bool = True
    """Whether compressed files are read."""
    any_suffix: bool = True
    """Whether content tells under any suffix, or only where there is none: that a file is text tells little."""
    accompanies: Callable[[str], str] = lambda name: ""
    """Why a file that only accompanies this kind is left out; empty for others."""
    with_readmes: bool = False
    """Whether a README.txt below the top of the directory is a document."""
    refuses: Callable[[bytes], str] = lambda head: ""
    """What is wrong with a named file that starts with these bytes, and the remedy, if anything can be seen."""

    def names(self, name: str) -> bool:
        """Whether a file of this name is read without a look at its content."""
        is_plain = self.compressed or without_compression(name) == name
        return (is_plain and suffix_of(name) in self.suffixes) or self.has_name(name)


class FileSearch:
    """Finds files and counts what it leaves out; one for each source."""

    def __init__(self) -> None:
        """Nothing was looked for."""
        self.counts = FileCounts()
        self.lost: list[Path] = []
        """Files that are left out although they may hold text."""
        self.place = ""
        """The directory or pattern that was searched; empty where a file is named."""

    def files(self, path: Path, form: Form) -> list[Path]:
        """The file itself, or the files of this form below a directory, or that match a pattern, sorted by path.

        Raises:
            DataError: nothing is there, or no file of this form.
            OSError: a directory or a file cannot be read; nothing is left out for that.
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
        """Counts a file that was found as left out after all."""
        size = path.stat().st_size
        self.counts.read -= 1
        self.counts.read_bytes -= size
        self.counts.add(FoundFile(str(path), size, reason, lost=True))
        self.lost.append(path)

    def check(self, max_share: float) -> None:
        """Checks that enough of a directory is read.

        Raises:
            LeftOutError: not so.
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
    """The first bytes of a file, unpacked; none of one that is damaged there."""
    try:
        with reading(path), open_text(path) as file:
            return file.read(HEAD_BYTES)
    except DataError:
        return b""


def _walk(path: Path) -> Iterator[_Walked]:
    """Each file below a directory, or that matches a pattern."""
    if path.is_dir():
        yield from _below(path)
        return
    if not has_magic(str(path)):
        check_there(path)
    if not (matches := matching(path)):
        raise no_match(path)
    for match in matches:
        is_below = "**" in path.parts  # Which matches the files below, too.
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
    """Checks that a file which the user named can be what it is read as.

    Raises:
        DataError: it begins as something else.
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
    """Why a file of a directory is left out, empty if it is read; and whether it may hold text."""
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
    """The first bytes of a file; none of a compressed one where the form has none."""
    return b"" if is_compressed(path) and not form.compressed else read_head(path)


def _special(path: Path) -> str:
    if path.is_dir():
        return "link to a directory; name it by itself"
    return _BROKEN if _leads_to_nothing(path) else "no regular file"


def _leads_to_nothing(path: Path) -> bool:
    """Whether a path is a broken link, or one that leads back to itself.

    One of git-annex stands for a file that was not fetched. Any other with the name of a source's file is taken for a
    file, so that it is an error or a bad record when it is read: what it leads to may be a disk that is not mounted.
    """
    return path.is_symlink() and not path.exists()


def _is_empty(path: Path) -> bool:
    """Whether a file of no bytes, as the system says, has none: those of /proc have some, and some cannot be read."""
    with reading(path), path.open("rb") as file:
        return not file.read(1)


def _bytes(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _missing_bytes(path: Path) -> int:
    """The size of the file that a pointer of Git LFS stands for, or a link of git-annex; 0 if it does not tell."""
    target = os.readlink(path) if path.is_symlink() else path.read_text(errors="replace")
    found = _SIZE.search(target)
    return int(found[1] or found[2]) if found else 0


def _check_packed_once(files: list[Path]) -> None:
    """Checks that no file is there both compressed and not, as `gzip --keep` leaves it.

    Raises:
        DataError: one is.
    """
    known: dict[Path, Path] = {}
    for file in files:
        if (other := known.setdefault(file.with_name(without_compression(file.name)), file)) != file:
            raise DataError(f"{file}: the same data as {other} by its name; all of it would count twice, keep one")
