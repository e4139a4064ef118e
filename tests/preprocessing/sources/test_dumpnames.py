"""Laws of preprocessing/sources/dumpnames.py."""

import logging
from pathlib import Path

import pytest

from preprocessing.errors import DataError
from preprocessing.sources.dumpnames import WIKIPEDIA, check_distinct, warn_of_gaps

DUMP = "enwiki-20251101-pages-articles"
NAMES = {
    f"{DUMP}.xml.bz2": True,
    f"{DUMP}1.xml-p1p41242.bz2": True,
    f"{DUMP}-multistream27.xml-p7p9.bz2": True,
    f"{DUMP}-multistream27.xml-p7p9": True,
    "ENWIKI-LATEST-PAGES-ARTICLES.XML.BZ2": True,
    "extract.xml.gz": True,
    "extract.xml.zst": True,
    f"{DUMP}-multistream-index.txt.bz2": False,
    f"{DUMP}1.xml-p1p41242.7z": False,
    "wiki_00": False,
}
COMPANIONS = {
    f"{DUMP}-multistream-index.txt.bz2": "index of a multistream dump",
    f"{DUMP}-multistream-index1.txt-p1p41242.bz2": "index of a multistream dump",
    "enwiki-20251101-page.sql.gz": "another part of the dump, without articles",
    "enwiki-20251101-stub-articles1.xml.gz": "another part of the dump, without articles",
    "enwiki-20251101-pages-meta-history1.xml-p1p812.7z": "another part of the dump, without articles",
    "enwiki-20251101-all-titles-in-ns0.gz": "another part of the dump, without articles",
    f"{DUMP}1.xml-p1p41242.bz2": "",
    "enwiki-20251101-pages-meta-current1.xml-p1p41242.bz2": "",
    "articles.xml.7z": "",
}


@pytest.mark.parametrize("name", NAMES)
def test_dumps_are_known_by_their_names(name):
    """Dumps are recognised by their names: whole and in parts, of one stream or many, in every compression that is
    read.
    """
    assert WIKIPEDIA.names(name) == NAMES[name]


@pytest.mark.parametrize("name", COMPANIONS)
def test_files_without_articles_are_known_by_their_names(name):
    """Indexes, tables, and selections of pages by other jobs are recognised as files without articles."""
    assert WIKIPEDIA.accompanies(name) == COMPANIONS[name]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.xml", "a.xml.bz2"], r"a\.xml\.bz2: the same dump as a\.xml"),
        (["a-multistream.xml.bz2", "a.xml.bz2"], r"a\.xml\.bz2: the same dump as a-multistream\.xml\.bz2"),
        ([f"{DUMP}1.xml-p1p2.bz2", f"{DUMP}-multistream1.xml-p1p2.bz2"], "the same dump as"),
        ([f"{DUMP}.xml.bz2", f"{DUMP}1.xml-p1p2.bz2"], r"two forms .*'wikipedia:DIRECTORY/.*-articles"),
        ([f"{DUMP}.xml.bz2", f"{DUMP}-multistream2.xml-p3p9.bz2"], r"articles-multistream\[0-9\]\*\.xml\*'"),
        ([f"{DUMP}.xml.bz2", f"{DUMP.replace('1101', '1001')}-multistream.xml.bz2"], r"enwiki-20251101-.*s\.xml\*'"),
        ([f"{DUMP}1.xml-p1p2.bz2", "enwiki-20251101-pages-meta-current1.xml-p1p2.bz2"], "two forms of the articles"),
        ([f"x/{DUMP}1.xml-p1p2.bz2", f"y/{DUMP}.xml.bz2"], "two forms of the articles"),
    ],
)
def test_a_dump_in_two_forms_is_refused(names, message):
    """A dump in two forms, in which every article would count twice, is an error with a pattern for one of them."""
    with pytest.raises(DataError, match=message):
        check_distinct([*map(Path, names)])


def test_parts_and_other_wikis_go_together():
    """Parts of one dump, and dumps of several wikis, are read together."""
    names = [f"{DUMP}{part}.xml-p{part}p{part}.bz2" for part in range(1, 28)]
    names += [f"{DUMP}27.xml-p28p30.bz2", "simplewiki-20251001-pages-articles-multistream.xml.bz2", "a.xml", "b.xml"]
    check_distinct([*map(Path, names)])


@pytest.mark.parametrize(
    ("ranges", "gaps"),
    [
        (["p1p9", "p10p20", "p21p30"], ""),
        (["p10p20", "p31p40", "p21p30"], "1 to 9"),
        (["p1p9", "p21p30", "p1000p2000"], "10 to 20, 31 to 999"),
        ([], ""),
    ],
)
def test_missing_parts_are_told_by_their_pages(caplog, ranges, gaps):
    """Missing parts are found by the pages in the names of the others, except at the end."""
    with caplog.at_level(logging.WARNING, "preprocessing"):
        warn_of_gaps([Path(f"{DUMP}{number}.xml-{pages}.bz2") for number, pages in enumerate(ranges)])
    assert (f"enwiki of 20251101: no file has the pages {gaps};" in caplog.text) if gaps else not caplog.text
