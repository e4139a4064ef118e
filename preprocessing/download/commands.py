"""The commands: a dump of Wikipedia, or any files."""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from preprocessing.download.client import Client, ClientConfig, check_url
from preprocessing.download.transfer import Checksum, Meter, RemoteFile, Transfer
from preprocessing.download.wikimedia import WikipediaConfig, dump_files
from preprocessing.errors import DataError
from preprocessing.progress import LOG, progress
from preprocessing.workers import run_tasks


@dataclass(frozen=True)
class UrlConfig:
    """Which files."""

    urls: list[str]
    """Their addresses, http: or https:. The last part of each names the file."""
    sha256: list[str] = field(default_factory=list)
    """Their SHA-256 in hexadecimal, in the same order; without it only the size is checked."""

    def __post_init__(self) -> None:
        if self.sha256 and len(self.sha256) != len(self.urls):
            raise ValueError(f"sha256 has {len(self.sha256)} values for {len(self.urls)} urls, must have one for each")
        for digest in self.sha256:
            if not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
                raise ValueError(f"sha256 is {digest!r}, must be 64 hexadecimal digits")


def download_wikipedia(out: Path, config: WikipediaConfig, client_config: ClientConfig) -> None:
    """Fetches the articles of a Wikipedia, and their index, into `out`; continues what was interrupted.

    Raises:
        DataError: no such dump, or it cannot be had.
    """
    if not client_config.contact:
        LOG.info(
            "no --contact: Wikimedia asks programs to name an e-mail address or web page and may refuse others; "
            "add one, such as --contact you@example.org"
        )
    client = Client(client_config)
    fetch(dump_files(config, client), out, client)


def download_urls(out: Path, config: UrlConfig, client_config: ClientConfig) -> None:
    """Fetches files into `out`; continues what was interrupted.

    Raises:
        DataError: an address that names no file, or a file that cannot be had.
    """
    checksums = [Checksum("sha256", digest, "--sha256") for digest in config.sha256]
    files = [RemoteFile(url, checksum=checksum) for url, checksum in zip_longest(config.urls, checksums)]
    fetch(files, out, Client(client_config))


def fetch(files: Sequence[RemoteFile], out: Path, client: Client) -> None:
    """Fetches files, a few at a time; the first error stops all.

    Raises:
        DataError: one of them cannot be had, or two have the same name.
    """
    names = [file.name for file in files]
    for file in files:
        check_url(file.url)
        if names.count(file.name) > 1:
            raise DataError(f"{file.url}: another file is also named {file.name}; fetch them into two directories")
    out.mkdir(parents=True, exist_ok=True)
    transfers = [Transfer(file, out) for file in files]
    with (
        progress(sum(transfer.due for transfer in transfers), "download") as bar,
        ThreadPoolExecutor(client.config.connections) as executor,
    ):
        meter = Meter(bar)
        try:
            run_tasks(executor, lambda transfer: transfer.run(client, meter), transfers, lambda number: None)
        except BaseException:
            client.stop()
            raise
