"""Laws of preprocessing/download/wikimedia.py."""

import hashlib
import json

import pytest

from preprocessing.download.transfer import Checksum, RemoteFile
from preprocessing.download.wikimedia import WikipediaConfig, dump_files
from preprocessing.errors import DataError

PART, INDEX = "multistream1.xml-p1p41242.bz2", "multistream-index1.txt-p1p41242.bz2"


def status(wiki, date, state="done", **files):
    """Return a dumpstatus.json of version 0.8 with the fields that are read, and others."""
    described = {
        f"{wiki}-{date}-pages-articles-{name}": {
            "size": len(body),
            "url": f"/{wiki}/{date}/{name}",
            "md5": hashlib.md5(body).hexdigest(),
            "sha1": hashlib.sha1(body).hexdigest(),
        }
        for name, body in files.items()
    }
    job = {"status": state, "updated": "2025-11-03 02:04:36", "files": described}
    return json.dumps({"version": "0.8", "jobs": {"articlesmultistreamdump": job, "pagetable": {"status": "waiting"}}})


def put(site, date, state="done", wiki="enwiki", **files):
    """Put a dump on the site."""
    files = files or {PART: b"articles", INDEX: b"index"}
    site[f"/{wiki}/{date}/dumpstatus.json"] = status(wiki, date, state, **files).encode()
    for name, body in files.items():
        site[f"/{wiki}/{date}/{wiki}-{date}-pages-articles-{name}"] = body


def list_dates(site, *dates, wiki="enwiki"):
    """Put the page that lists dumps on the site."""
    rows = "".join(f'<a href="{date}/">{date}/</a>   21-Nov-2025 11:38   -\n' for date in (*dates, "latest"))
    site[f"/{wiki}/"] = f'<html><a href="../">../</a>\n{rows}</html>'.encode()


def config(site, date, language="en"):
    """Return the configuration with the site as mirror."""
    return WikipediaConfig(language, date, site.base)


def test_the_dump_says_what_it_has(site, client):
    """The files of a dump are articles and index, with sizes and checksums, in the order of their names."""
    put(site, "20251101")
    url = f"{site.base}/enwiki/20251101/"
    assert dump_files(config(site, "20251101"), client) == [
        RemoteFile(
            f"{url}enwiki-20251101-pages-articles-{name}",
            len(body),
            Checksum("sha1", hashlib.sha1(body).hexdigest(), f"{url}dumpstatus.json"),
        )
        for name, body in ((INDEX, b"index"), (PART, b"articles"))
    ]


def test_latest_is_the_newest_whose_articles_are_complete(site, client):
    """`latest` is the newest dump with complete articles, not one that is in progress or has only a directory."""
    list_dates(site, "20251001", "20251020", "20251101", "20251120")
    put(site, "20251001")
    put(site, "20251020")
    put(site, "20251101", "in-progress")
    names = [file.name for file in dump_files(config(site, "latest"), client)]
    assert names == [f"enwiki-20251020-pages-articles-{name}" for name in (INDEX, PART)]


def test_no_complete_dump_is_an_error(site, client):
    """If no dump is complete, the error names the dates that were examined."""
    list_dates(site, "20251101", "20251120")
    put(site, "20251101", "in-progress")
    for date, looked in (("latest", "20251120, 20251101"), ("20251101", "20251101")):
        with pytest.raises(DataError, match=rf"/enwiki/: lists no dump .* \(looked at: {looked}\)"):
            dump_files(config(site, date), client)


def test_a_date_that_is_not_there_says_where_dates_are_listed(site, client):
    """The error for a removed date names the page that lists the dates."""
    with pytest.raises(
        DataError, match=r"20200101/dumpstatus\.json: the server answers 404 .*/enwiki/ lists the dates"
    ):
        dump_files(config(site, "20200101"), client)


def test_languages_with_hyphens(site, client):
    """Hyphens in a subdomain are underscores in the database."""
    put(site, "20251101", wiki="zh_min_nanwiki")
    assert len(dump_files(config(site, "20251101", "zh-min-nan"), client)) == 2


def test_names_that_are_not_of_the_dump_are_left_out(site, client, caplog):
    """Files with names that are not of the dump's articles are not fetched, wherever they lead, and their number is
    logged.
    """
    put(site, "20251101", **{"multistream.xml.bz2": b"x", "multistream/../../../x": b"x"})
    files = dump_files(config(site, "20251101"), client)
    assert [file.name for file in files] == ["enwiki-20251101-pages-articles-multistream.xml.bz2"]
    assert "1 of its files are not named as articles are, and not fetched" in caplog.text


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"jobs": {"articlesmultistreamdump": {"status": "done"}}}']
)
def test_what_is_no_status_is_named(site, client, body):
    """A dumpstatus.json of another structure, such as a web page, is an error that names it."""
    site["/enwiki/20251101/dumpstatus.json"] = body
    with pytest.raises(DataError, match=r"dumpstatus\.json: is not what Wikimedia writes there"):
        dump_files(config(site, "20251101"), client)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"language": "../x"}, "language = '../x'"),
        ({"language": "english"}, r"language = 'english': must be the subdomain of a Wikipedia; did you mean en\?"),
        ({"language": "en", "date": "2025-11-01"}, "date = '2025-11-01': must be YYYYMMDD or latest"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    """Each message names the field and the value."""
    with pytest.raises(ValueError, match=message):
        WikipediaConfig(**options)
