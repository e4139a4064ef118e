"""Resumable download of one file to a directory.

The bytes are collected in NAME.part. NAME.part.json records the URL and version of the file, so that a later attempt
requests the rest of that version, and the whole of any other (RFC 9110, sections 13.1.5 and 14). NAME appears when the
file is complete and its checksum is correct.
"""

import hashlib
import os
import re
import threading
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPResponse
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tqdm import tqdm

from preprocessing.download.client import Client, TransientError
from preprocessing.errors import DataError
from preprocessing.files import flush, read_json, write_json
from preprocessing.progress import LOG, LogLines

_NAME = re.compile(r"[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-")


@dataclass(frozen=True)
class Checksum:
    """Expected checksum of a file."""

    algorithm: str
    """Name of the algorithm in hashlib."""
    digest: str
    """Expected digest in hexadecimal."""
    origin: str
    """Where the digest comes from, for error messages."""


@dataclass(frozen=True)
class RemoteFile:
    """A file to download."""

    url: str
    size: int | None = None
    """Size in bytes, if it is known beforehand."""
    checksum: Checksum | None = None

    @property
    def name(self) -> str:
        """Name of the file on disk: the last part of the URL's path.

        Raises:
            DataError: it is not a valid file name.
        """
        name = unquote(urlsplit(self.url).path.rsplit("/", 1)[-1])
        if not _NAME.fullmatch(name):
            raise DataError(f"{self.url}: its last part, {name!r}, is not a file name; give the URL of a file")
        return name


class Meter:
    """Thread-safe progress bar of the bytes received and expected by all threads."""

    def __init__(self, bar: tqdm | LogLines) -> None:
        """`bar`: its total is the number of bytes expected so far."""
        self._bar = bar
        self._lock = threading.Lock()

    def expect(self, amount: int) -> None:
        """Adds `amount` bytes to the expected total."""
        with self._lock:
            self._bar.total += amount

    def receive(self, amount: int) -> None:
        """Adds `amount` received bytes."""
        with self._lock:
            self._bar.update(amount)


class Transfer:
    """Download of one file into a directory."""

    def __init__(self, file: RemoteFile, directory: Path) -> None:
        """Determines the state that earlier attempts left."""
        self.file = file
        self.final = directory / file.name
        self._part = directory / f"{file.name}.part"
        self._stamp = directory / f"{file.name}.part.json"
        self.due = 0 if file.size is None or self.final.exists() else max(0, file.size - self.held)
        """Number of bytes that the meter still expects of this file."""

    @property
    def held(self) -> int:
        """Number of bytes received so far."""
        return self._part.stat().st_size if self._part.exists() else 0

    def run(self, client: Client, meter: Meter) -> None:
        """Downloads the missing bytes and publishes the file.

        Raises:
            DataError: the server refuses or keeps failing, the disk is full, or the checksum is wrong.
        """
        if self.final.exists():
            self._verify(self.final)
            LOG.info(f"{self.final}: exists")
            return
        client.retry(lambda: self._attempt(client, meter), lambda: self.held)
        self._verify(self._part)
        flush(self._part)
        os.replace(self._part, self.final)
        self._stamp.unlink(missing_ok=True)
        flush(self.final.parent)
        LOG.info(f"{self.final}: complete{', its checksum is right' if self.file.checksum else ''}")

    def _attempt(self, client: Client, meter: Meter) -> None:
        version, size = self._read_stamp()
        if size is None or self.held < size:
            size = self._fetch(version, client, meter)
        if size is not None and self.held < size:
            raise TransientError(f"{self.file.url}: the connection ended after {self.held:,} of {size:,} bytes")
        if size is not None and self.held > size:
            raise DataError(
                f"{self._part}: has {self.held:,} bytes, but {self.file.url} has {size:,}; does another process write "
                "to it? Remove it and run the same command again"
            )

    def _fetch(self, version: str, client: Client, meter: Meter) -> int | None:
        """Downloads the rest of a version, or all, and returns the size of the file; None if the server does not state
        it."""
        held = self.held if version else 0
        with client.open(self.file.url, {"Range": f"bytes={held}-", "If-Range": version} if held else {}) as response:
            start = held if response.status == HTTPStatus.PARTIAL_CONTENT else 0
            if start and not _continues(response, start, version):
                self._stamp.unlink()
                raise TransientError(f"{self.file.url}: the file has changed on the server")
            size = self._size(response, start)
            try:
                if not start:
                    self._begin(response, size)
                self._receive(response, size, client, meter)
            except OSError as error:  # Of the disk; the client raises other errors for the network.
                raise DataError(
                    f"{self._part}: cannot be written ({error.strerror}) after {self.held:,} bytes of "
                    f"{'unknown' if size is None else format(size, ',')}; free disk space and run the same command "
                    "again to resume"
                ) from None
        return size

    def _read_stamp(self) -> tuple[str, int | None]:
        """Version and size of the partly downloaded file; empty and None if it cannot be resumed."""
        record = read_json(self._stamp) if self._stamp.exists() and self._part.exists() else {}
        return (record["version"], record["bytes"]) if record.get("url") == self.file.url else ("", None)

    def _size(self, response: HTTPResponse, start: int) -> int | None:
        size = None if response.length is None else start + response.length
        if size is None and not response.chunked and not self.file.checksum:
            raise DataError(
                f"{self.file.url}: the server does not state the size of the file, so that a lost end would not be "
                "noticed; give its --sha256, or another URL"
            )
        if None not in (size, self.file.size) and size != self.file.size:
            raise DataError(
                f"{self.file.url}: has {size:,} bytes on the server, should have {self.file.size:,}; try another "
                "--mirror, or later"
            )
        return size

    def _begin(self, response: HTTPResponse, size: int | None) -> None:
        """Empties the partial file, then records its version: after a crash in between nothing is resumed."""
        self._part.write_bytes(b"")
        version = _version(response)
        if version and size is not None:
            write_json(self._stamp, {"url": self.file.url, "version": version, "bytes": size})
        else:
            self._stamp.unlink(missing_ok=True)

    def _receive(self, response: HTTPResponse, size: int | None, client: Client, meter: Meter) -> None:
        if size is not None:
            meter.expect(size - self.held - self.due)
            self.due = size - self.held
        with self._part.open("ab") as part:
            while chunk := client.read(response):
                part.write(chunk)
                meter.receive(len(chunk))
                self.due -= len(chunk)

    def _verify(self, path: Path) -> None:
        if (expected := self.file.checksum) is None:
            return
        with path.open("rb") as file:
            found = hashlib.file_digest(file, expected.algorithm).hexdigest()
        if found != expected.digest.lower():
            raise DataError(
                f"{path}: {expected.algorithm} is {found}, but {expected.origin} says {expected.digest}; the file is "
                "damaged or another one. Remove it and run the same command again"
            )


def _version(response: HTTPResponse) -> str:
    """Identifier of this version of the file: a strong ETag, or the time of its last change; empty if there is none."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def _continues(response: HTTPResponse, start: int, version: str) -> bool:
    """Whether a partial response is of this version and starts at `start`; some servers ignore If-Range."""
    found = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
    return found is not None and int(found[1]) == start and _version(response) == version
