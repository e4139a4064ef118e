"""Files of a dump of a Wikipedia: https://meta.wikimedia.org/wiki/Data_dumps.

A dump is under MIRROR/enwiki/20251101/. Its dumpstatus.json lists the state of its jobs, and each file with size and
SHA-1. Dumps of big Wikipedias are published in parts, and joined to one file by a further job; the parts are
downloaded.
"""

import json
import re
from collections.abc import Iterable

from preprocessing.download.client import Client, StatusError
from preprocessing.download.options import DATE, LATEST, WikipediaConfig
from preprocessing.download.transfer import Checksum, RemoteFile
from preprocessing.errors import DataError
from preprocessing.progress import LOG

_JOB = "articlesmultistreamdump"


def dump_files(config: WikipediaConfig, client: Client) -> list[RemoteFile]:
    """The files of a dump's articles and of their index.

    Raises:
        DataError: there is no such dump, or it is not complete.
    """
    dates = _dates(config, client) if config.date == LATEST else [config.date]
    for date in dates:
        url = f"{config.listing}{date}/dumpstatus.json"
        try:
            status = client.document(url)
        except StatusError as error:
            if config.date == LATEST and error.status == 404:  # The directory is new and still empty.
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
    """Dates with a dump, newest first."""
    listing = client.document(config.listing).decode("utf-8", "replace")
    return sorted(set(re.findall(rf'href="({DATE})/?"', listing)), reverse=True)


def _files(status: bytes, url: str, names: re.Pattern) -> list[RemoteFile]:
    """The files of a dump whose names match, in the order of their names; empty if the job is not complete."""
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
