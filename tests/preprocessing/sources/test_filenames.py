"""Laws of preprocessing/sources/filenames.py."""

import pytest

from preprocessing.sources.filenames import (
    CHECKSUM,
    HIDDEN,
    MEDIA,
    METADATA,
    PACKED,
    README,
    UNFINISHED,
    companion,
    other_form,
    suffix_of,
)

SUFFIXES = {
    "a.txt": ".txt",
    "A.TXT": ".txt",
    "A.JSONL.GZ": ".jsonl",
    "pg1342.txt.utf-8": ".txt",
    "pg1342.txt.utf8.xz": ".txt",
    "part-00000": "",
    "part-00000.zst": "",
    "wiki_00.bz2": "",
    "c4-train.00000-of-01024.json.gz": ".json",
    "data-00000-of-00002": "",
    "data.00001": "",
    "x.jsonl.part-3": "",
    "a.snappy.parquet": ".parquet",
}


@pytest.mark.parametrize("name", SUFFIXES)
def test_suffixes(name):
    """The form of a file is its suffix, without compression, case, encoding and numbers of parts."""
    assert suffix_of(name) == SUFFIXES[name]


COMPANIONS = {
    HIDDEN: [".a.txt", "._a.txt", ".git/config", "x/.cache/a.txt", "__MACOSX/a.txt", "_temporary/0/part-0"],
    UNFINISHED: ["a.xml.bz2.part", "a.jsonl.crdownload", "x/a.txt.tmp", "A.PART"],
    CHECKSUM: ["sha1sums.txt", "enwiki-20251101-md5sums.txt", "SHA256SUMS", "a.tar.gz.md5", "a.txt.asc", "sha1.txt"],
    README: ["README", "README.md", "readme-de.txt", "LICENSE.txt", "x/COPYING"],
    METADATA: ["dataset_info.json", "dumpstatus.json", "index.html", "_SUCCESS", "a.bz2.part.json", "a.bz2-rss.xml"],
    MEDIA: ["a.jpg", "x/A.PNG", "style.css", "load.py"],
    "": [
        "a.txt",
        "part-00000",
        "wiki_00",
        "_a.txt",
        "../a.txt",
        "partial.txt",
        "vitamin-b2.txt",
        "Notices.txt",
        "the md5.txt",
        "license to kill.txt",
        "state.jsonl",
        "indexes.html",
    ],
}


@pytest.mark.parametrize(("reason", "name"), [(reason, name) for reason, names in COMPANIONS.items() for name in names])
def test_companions_of_data_are_known_by_their_names(reason, name):
    """Hidden files, checksums, licences and similar files are companions of data; a book with such a word in its title
    is data.
    """
    assert companion(name) == reason


def test_other_forms_are_named():
    """The reason for another form names it: an archive is to be unpacked; else the reason is the suffix, or its
    absence.
    """
    assert {other_form(name, "jsonl") for name in ("a.7z", "A.ZIP", "a.tar.gz", "a.tgz", "a.txt.lz4")} == {PACKED}
    assert other_form("a.PDF", "jsonl") == ".pdf, which jsonl does not read"
    assert other_form("part-00000.gz", "jsonl") == "neither name nor content of jsonl"
