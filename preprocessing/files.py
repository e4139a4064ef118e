"""Atomic writing of files, their checksums, and the lock of an output directory.

A file is written under a temporary name in its own directory, flushed to disk and renamed, and the directory is
flushed: after a crash at any moment the file has either the old or the new content (POSIX rename(2) is atomic).
"""

import errno
import fcntl
import hashlib
import json
import logging
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from preprocessing import faults
from preprocessing.errors import DataError

LOG = logging.getLogger("preprocessing")
_TEMPORARY_SUFFIX = ".tmp"
_LOCK_NAME = ".lock.tmp"
"""A temporary file: if a killed run leaves it behind, it does not block other runs."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Yields a temporary path beside `final`; a file written there is renamed to `final` at the end of the block.

    On an error the temporary file is removed and `final` is not changed.

    Raises:
        DataError: the disk is full, or the quota or the limit on file sizes is exceeded.
    """
    temporary = final.with_name(f".{final.name}.{secrets.token_hex(4)}{_TEMPORARY_SUFFIX}")
    try:
        yield temporary
        flush(temporary)
        faults.reach("written", final)
        os.replace(temporary, final)
        faults.reach("published", final)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        remedy = "free disk space and run the same command again to resume"
        raise DataError(f"{final}: {os.strerror(error.errno)}; {remedy}") from None
    finally:
        temporary.unlink(missing_ok=True)
    flush(final.parent)


@contextmanager
def reading(*paths: Path) -> Iterator[None]:
    """Adds the names of the files to an OSError that occurs while they are read and does not name a file."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), ", ".join(map(str, paths))) from None


def unreadable(path: Path, error: OSError) -> OSError:
    """The error to raise if the system cannot read a file, which says nothing about the file's content."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    return OSError(
        f"{path}: cannot be read ({reason}); its content may be sound: correct permissions, disk or mount and run "
        "the same command again"
    )


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns an OSError while `path` is read into `unreadable`."""
    try:
        yield
    except OSError as error:
        raise unreadable(path, error) from None


def is_temporary(path: Path) -> bool:
    """Whether `path` is a temporary file of `atomic_path`, which a killed process may leave behind."""
    return path.name.startswith(".") and path.suffix == _TEMPORARY_SUFFIX


def sha256_file(path: Path) -> str:
    """SHA-256 of the file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: Path, text: str) -> None:
    """Writes `text` to `path` atomically, in UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes `value` to `path` atomically as JSON with sorted keys: equal values give equal bytes."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        DataError: the file does not hold a JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise DataError(f"{path}: nested too deeply; the file is damaged, restore it or make it again") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not valid JSON ({error}); the file is damaged, restore it or make it again") from None
    if not isinstance(value, dict):
        raise DataError(f"{path}: holds a JSON {type(value).__name__}, expected an object; restore it or make it again")
    return value


def flush(path: Path) -> None:
    """Waits until a file's content, or a directory's entries, are on disk (fsync)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def sole_run(out: Path) -> Iterator[None]:
    """Locks `out`, which is created if necessary, against other runs while the block runs.

    The kernel holds the lock (flock(2)) and releases it when the process ends for any reason. It also works between
    machines on NFS, and on Lustre mounted with `flock`. The lock file is removed, except by a killed run.

    Raises:
        DataError: another run has locked `out`.
    """
    is_new = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    path = out / _LOCK_NAME
    with _locked(path):
        try:
            yield
        finally:
            path.unlink()
            if is_new:
                with suppress(OSError):  # Not empty, unless an error occurred.
                    out.rmdir()


def _locked(path: Path) -> TextIO:
    """Opens and locks the file, and writes the name of this process into it."""
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise DataError(
            f"{path.parent}: another run works here, {file.read()}; wait for its end, or give another directory"
        ) from None
    except OSError as error:
        LOG.warning(
            f"{path.parent}: this file system has no locks ({error}); make sure that no other run uses this directory"
        )
    if not path.exists() or not os.path.samestat(path.stat(), os.fstat(file.fileno())):
        return _locked(path)  # Another run removed the file between opening and locking.
    file.truncate(0)
    with suppress(OSError):  # The disk may be full; the name is only informative.
        os.write(file.fileno(), f"process {os.getpid()} on {socket.gethostname()}".encode())
    return file
