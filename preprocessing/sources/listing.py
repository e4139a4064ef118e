"""Lists the files below a directory, or those that match a pattern.

A directory that cannot be listed is an error. The standard library's `glob` and `rglob` skip it silently, and `glob`
follows links to parent directories until the system refuses, which yields the same files many times.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from difflib import get_close_matches
from fnmatch import fnmatchcase
from glob import has_magic
from pathlib import Path

from preprocessing.errors import DataError
from preprocessing.files import unreadable

_BELOW = "**"
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def walk(root: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Each directory from this one down, with the names of its directories and of its other files.

    Links to directories are among the former and are not followed. The caller may remove names from the first list.

    Raises:
        OSError: a directory cannot be listed.
    """

    def fail(error: OSError) -> None:
        raise unreadable(Path(error.filename), error) from None

    for folder, folders, names in os.walk(root, onerror=fail):
        yield Path(folder), folders, names


def matching(pattern: Path) -> list[Path]:
    """Paths that match a pattern with `*`, `?`, `[...]` and `**`, which matches any number of directories.

    As in a shell, wildcards do not match a dot at the start of a name. `**` follows no links, but matches links to
    directories, so that the caller can report them.

    Raises:
        OSError: a directory that may hold matches cannot be listed.
    """
    parts = pattern.parts[1:] if pattern.anchor else pattern.parts
    return [*dict.fromkeys(_matching(Path(pattern.anchor), parts))]


def _matching(folder: Path, parts: tuple[str, ...]) -> Iterator[Path]:
    if not parts:
        yield folder
        return
    part, *rest = parts
    if part == _BELOW:
        yield from _matching_below(folder, tuple(rest) or ("*",))
    else:
        for name in _names(folder, part):
            yield from _matching(folder / name, tuple(rest))


def _matching_below(folder: Path, parts: tuple[str, ...]) -> Iterator[Path]:
    if not folder.is_dir():
        return
    for below, folders, _ in walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (below / name for name in folders if (below / name).is_symlink())
        yield from _matching(below, parts)


def _names(folder: Path, pattern: str) -> list[str]:
    """The names in a directory that match a pattern; empty if it is no directory."""
    try:
        if not has_magic(pattern):
            os.lstat(folder / pattern)
            return [pattern]
        names = os.listdir(folder)
    except OSError as error:
        if error.errno in _NOT_THERE:
            return []
        raise unreadable(folder, error) from None
    dots = pattern.startswith(".")
    return [name for name in names if fnmatchcase(name, pattern) and (dots or not name.startswith("."))]


def check_there(path: Path) -> None:
    """Checks that a path leads to a file or a directory.

    Raises:
        DataError: it does not; the message suggests a path of similar name.
    """
    if not path.is_file() and not path.is_dir():
        raise DataError(f"{path}: {_missing(path)}")


def no_match(pattern: Path) -> DataError:
    """The error for a pattern that matches no file."""
    return DataError(f"{pattern}: no file matches this pattern; check it, and the directory it starts from")


def _missing(path: Path) -> str:
    if path.exists():
        return "is no regular file, and a source is read more than once; write it to a file first"
    broken = next((part for part in (*reversed(path.parents), path) if part.is_symlink() and not part.exists()), None)
    if broken:
        return f"{broken} is a link to {os.readlink(broken)}, which leads to nothing; correct the link"
    message = "no such file or directory; check the path after the colon in --sources"
    for folder, name in ((part.parent, part.name) for part in (path, *path.parents)):
        if folder.is_dir():
            near = []
            with suppress(OSError):
                near = get_close_matches(name, os.listdir(folder), 1, 0.7)
            return f"{message}; did you mean {folder / near[0]}?" if near else message
    return message
