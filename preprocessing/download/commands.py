"""Implementation of the commands `download wikipedia` and `download url`."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from pathlib import Path

from preprocessing.download.client import Client, check_url
from preprocessing.download.options import ClientConfig, UrlConfig, WikipediaConfig
from preprocessing.download.transfer import Checksum, Meter, RemoteFile, Transfer
from preprocessing.download.wikimedia import dump_files
from preprocessing.errors import DataError
from preprocessing.progress import LOG, progress
from preprocessing.workers import run_tasks


def download_wikipedia(out: Path, config: WikipediaConfig, client_config: ClientConfig) -> None:
    """Downloads the articles of a Wikipedia, and their index, into `out`; resumes an interrupted download.

    Raises:
        DataError: there is no such dump, or it cannot be downloaded.
    """
    if not client_config.contact:
        LOG.info(
            "no --contact: Wikimedia asks programs to name an e-mail address or web page and may refuse others; "
            "add one, such as --contact you@example.org"
        )
    client = Client(client_config)
    fetch(dump_files(config, client), out, client)


def download_urls(out: Path, config: UrlConfig, client_config: ClientConfig) -> None:
    """Downloads files into `out`; resumes an interrupted download.

    Raises:
        DataError: a URL names no file, or a file cannot be downloaded.
    """
    checksums = [Checksum("sha256", digest, "--sha256") for digest in config.sha256]
    files = [RemoteFile(url, checksum=checksum) for url, checksum in zip_longest(config.urls, checksums)]
    fetch(files, out, Client(client_config))


def fetch(files: Sequence[RemoteFile], out: Path, client: Client) -> None:
    """Downloads files, `connections` at a time; the first error stops all.

    Raises:
        DataError: a file cannot be downloaded, or two files have the same name.
    """
    names = [file.name for file in files]
    for file in files:
        check_url(file.url)
        if names.count(file.name) > 1:
            raise DataError(f"{file.url}: another file is also named {file.name}; download them into two directories")
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
