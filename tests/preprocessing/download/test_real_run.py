"""The README's run works from Wikimedia's directory to verified samples, with real processes and a server on this
machine.
"""

import bz2
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from preprocessing.files import read_json

ROOT = Path(__file__).parents[3]
HEAD = (
    '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="en">\n<siteinfo>'
    '<dbname>enwiki</dbname><namespaces><namespace key="6">File</namespace></namespaces></siteinfo>\n'
)
TAIL = "</mediawiki>\n"
RANGES = ("p1p41242", "p41243p151573", "p151574p311329")
"""Page numbers in the names of the first parts of the English Wikipedia."""
PAGES = 40
SIZES = ["--vocab_size", "300", "--max_seq_length", "32", "--heldout_share", "0.1", "--executor", "serial"]


def articles(part):
    """Return the pages of one part, each with a word that no other part has."""
    random = Random(part)
    words = ["".join(random.choices("abcdefghij", k=random.randint(2, 8))) for _ in range(200)]
    for number in range(PAGES):
        sentences = [" ".join(random.choices(words, k=8)).capitalize() + "." for _ in range(6)]
        text = f"'''Part{part}''' is number {number}. {' '.join(sentences)}"
        yield (
            f"<page><title>{part}-{number}</title><ns>0</ns><id>{number}</id><revision><id>1</id>"
            f"<text>{text}</text></revision></page>\n"
        )


def multistream(part):
    """Compress a part as Wikimedia does: head, pages by the hundred (here ten) and end, each a stream of its own."""
    pages = [*articles(part)]
    groups = ["".join(pages[start : start + 10]) for start in range(0, PAGES, 10)]
    return b"".join(bz2.compress(text.encode()) for text in (HEAD, *groups, TAIL))


def publish(site, date, whole=False):
    """Serve a miniature of dumps.wikimedia.org/enwiki with the other files of its directory."""
    prefix = f"enwiki-{date}-pages-articles"
    files = {}
    for part, pages in enumerate(RANGES, 1):
        files[f"{prefix}-multistream{part}.xml-{pages}.bz2"] = multistream(part)
        files[f"{prefix}-multistream-index{part}.txt-{pages}.bz2"] = bz2.compress(b"600:1:Title\n")
    single = {f"{prefix}{part}.xml-{pages}.bz2": multistream(part) for part, pages in enumerate(RANGES, 1)}
    jobs = {
        "articlesmultistreamdump": {"status": "done", "files": {name: described(body) for name, body in files.items()}},
        "articlesdump": {"status": "done", "files": {name: described(body) for name, body in single.items()}},
        "metahistory7zdump": {"status": "waiting", "files": {}},
    }
    site["/enwiki/"] = f'<a href="../">../</a>\n<a href="{date}/">{date}/</a>\n<a href="latest/">latest/</a>'.encode()
    site[f"/enwiki/{date}/dumpstatus.json"] = json.dumps({"version": "0.8", "jobs": jobs}).encode()
    for name, body in (files | single).items():
        site[f"/enwiki/{date}/{name}"] = body
    return files


def described(body):
    """Return the entry of a file in dumpstatus.json."""
    digests = {name: hashlib.new(name, body).hexdigest() for name in ("md5", "sha1")}
    return {"size": len(body), **digests}


def command(folder, *arguments):
    """Run `python -m preprocessing` in a directory to its end."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "preprocessing", *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_from_download_to_verify_with_the_names_of_wikimedia(site, tmp_path):
    """Every part is fetched under its own name and read, indexes are named as left out, and nothing else
    is left out.
    """
    files = publish(site, "20251101")
    download = ["download", "wikipedia", "--language", "en", "--date", "latest", "--out", "dumps"]
    result = command(tmp_path, *download, "--mirror", site.base, "--contact", "you@example.org")
    assert result.returncode == 0, result.stderr
    assert {path.name for path in (tmp_path / "dumps").iterdir()} == files.keys()
    assert {headers["user-agent"] for _, headers in site.requests} == {
        "bert-pipeline (python -m preprocessing download; you@example.org)"
    }
    run = command(tmp_path, "run", "--out", "data", "--sources", "wikipedia:dumps", *SIZES)
    assert run.returncode == 0, run.stderr
    assert "wikipedia:dumps: 3 files read, 3 left out\n  index of a multistream dump: 3 (enwiki-" in run.stderr
    report = read_json(tmp_path / "data" / "documents" / "report.json")
    assert (report["documents"], report["bad"]) == (len(RANGES) * PAGES, {})
    assert report["files"]["wikipedia:dumps"]["left_out"] == {"index of a multistream dump": 3}
    verify = command(tmp_path, "verify", "data")
    assert verify.returncode == 0 and "shards are whole" in verify.stdout, verify.stderr


def test_without_contact_the_download_says_what_wikimedia_asks(site, tmp_path):
    """Without --contact the download warns of what Wikimedia demands and continues, since most mirrors demand none."""
    publish(site, "20251101")
    result = command(tmp_path, "download", "wikipedia", "--language", "en", "--out", "dumps", "--mirror", site.base)
    assert result.returncode == 0 and "no --contact: Wikimedia asks" in result.stderr


@pytest.mark.parametrize(
    ("add", "message"),
    [
        (
            {"enwiki-20251101-pages-articles.xml.bz2": multistream(1)},
            "two forms of the articles of enwiki, every article would count twice; keep one of them, or name the files "
            "of one, such as 'wikipedia:DIRECTORY/enwiki-20251101-pages-articles-multistream[0-9]*.xml*'",
        ),
        ({"enwiki-20251001-pages-articles-multistream.xml.bz2": multistream(1)}, "two forms of the articles of enwiki"),
        ({"enwiki-20251101-pages-meta-history1.xml-p1p812.7z": b"7z" * 10_000}, ""),
        ({"articles.7z": b"7z" * 10_000}, "are in files that are not read, more than max_left_out_share = 0.5 allows"),
        ({"enwiki-20251101-pages-articles-multistream4.xml-p9p10.bz2.part": b"x" * 99}, "unfinished download"),
    ],
)
def test_what_else_lies_in_the_directory_is_never_silent(tmp_path, run_here, add, message):
    """A dump that is there twice is refused, files that may hold articles count as lost, and others of the dump are
    named.
    """
    dumps = tmp_path / "dumps"
    dumps.mkdir()
    for part, pages in enumerate(RANGES, 1):
        name = f"enwiki-20251101-pages-articles-multistream{part}.xml-{pages}.bz2"
        (dumps / name).write_bytes(multistream(part))
    for name, body in add.items():
        (dumps / name).write_bytes(body)
    out = str(tmp_path / "data")
    status, text = run_here(["extract", "--out", out, "--sources", f"wikipedia:{dumps}", "--executor", "serial"])
    assert message in text and "Traceback" not in text
    assert (status == 0) == (message in ("", "unfinished download"))
    if status:
        assert text.count("\n") == 1 and not (tmp_path / "data" / "documents").exists()
