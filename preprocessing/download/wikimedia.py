"""Which files a dump of a Wikipedia has: https://meta.wikimedia.org/wiki/Data_dumps.

A dump lies under MIRROR/enwiki/20251101/. Its dumpstatus.json tells which jobs are done, and names each file with size
and SHA-1. Big Wikipedias come in parts, which a further job joins to one file; the parts are taken.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from preprocessing.download.client import Client, StatusError
from preprocessing.download.transfer import Checksum, RemoteFile
from preprocessing.errors import DataError
from preprocessing.languages import CODES, meant_language
from preprocessing.progress import LOG

LATEST = "latest"
_JOB = "articlesmultistreamdump"
_DATE = r"\d{8}"


@dataclass(frozen=True)
class WikipediaConfig:
    """Which dump."""

    language: str
    """Subdomain of the Wikipedia: en, de, simple, zh-min-nan."""
    date: str = LATEST
    """The dump's day, YYYYMMDD, as listed under MIRROR/enwiki/; latest: the newest whose articles are complete."""
    mirror: str = "https://dumps.wikimedia.org"
    """Where the dumps lie; mirrors are listed at https://meta.wikimedia.org/wiki/Mirroring_Wikimedia_project_XML_dumps."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9-]*", self.language):
            raise ValueError(f"language is {self.language!r}, must be the subdomain of a Wikipedia, such as en")
        if self.language not in CODES and (meant := meant_language(self.language)):  # A new Wikipedia may be unknown.
            raise ValueError(
                f"language = {self.language!r}: must be the subdomain of a Wikipedia; did you mean {meant}?"
            )
        if self.date != LATEST and not re.fullmatch(_DATE, self.date):
            raise ValueError(f"date is {self.date!r}, must be YYYYMMDD or {LATEST}")

    @property
    def wiki(self) -> str:
        """Name of the database."""
        return self.language.replace("-", "_") + "wiki"

    @property
    def listing(self) -> str:
        """Where the dumps of this Wikipedia are listed."""
        return f"{self.mirror.rstrip('/')}/{self.wiki}/"


def dump_files(config: WikipediaConfig, client: Client) -> list[RemoteFile]:
    """The files of a dump's articles and of their index.

    Raises:
        DataError: no such dump, or it is not complete.
    """
    dates = _dates(config, client) if config.date == LATEST else [config.date]
    for date in dates:
        url = f"{config.listing}{date}/dumpstatus.json"
        try:
            status = client.document(url)
        except StatusError as error:
            if config.date == LATEST and error.status == 404:  # A directory that was only just made.
                continue
            raise DataError(f"{error}: {config.listing} lists the dates there are") from None
        if files := _files(status, url, re.compile(rf"{config.wiki}-{date}-pages-articles-multistream[\w.-]+")):
            size = sum(file.size or 0 for file in files)
            LOG.info(f"{config.wiki} of {date}: {len(files)} files, {size / 1e9:,.2f} GB")
            return files
    raise DataError(
        f"{config.listing}: lists no dump whose articles are complete (looked at: {', '.join(dates) or 'none'}); "
        "a dump takes some days, give an earlier --date or another --mirror"
    )


def _dates(config: WikipediaConfig, client: Client) -> list[str]:
    """Days with a dump, newest first."""
    listing = client.document(config.listing).decode("utf-8", "replace")
    return sorted(set(re.findall(rf'href="({_DATE})/?"', listing)), reverse=True)


def _files(status: bytes, url: str, names: re.Pattern) -> list[RemoteFile]:
    """The files of a dump whose names match, in the order of their names; none if they are not complete."""
    try:
        job = json.loads(status)["jobs"][_JOB]
        if job["status"] != "done":
            return []
        found: Iterable[tuple[str, dict]] = sorted(job["files"].items())
        if others := [name for name, _ in found if not names.fullmatch(name)]:
            shown = f"{len(others)} of its files are not named as articles are, and not fetched, such as {others[0]!r}"
            LOG.warning(f"{url}: {shown}")
        return [
            RemoteFile(
                url.replace("dumpstatus.json", name), int(file["size"]), Checksum("sha1", str(file["sha1"]), url)
            )
            for name, file in found
            if names.fullmatch(name)
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"{url}: is not what Wikimedia writes there; try another --mirror, or later") from None
