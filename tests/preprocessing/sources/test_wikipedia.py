"""Laws of preprocessing/sources/wikipedia.py."""

import bz2
import pickle
import time
from itertools import pairwise
from pathlib import Path

import pytest
from dumps import HEAD, TAIL, dump, left_out, multistream, page, read, texts
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing.errors import DataError
from preprocessing.sources import dumpfile, wikipedia
from preprocessing.sources.documents import DAMAGED_DUMP, Document, LeftOut
from preprocessing.sources.siteinfo import SiteInfo
from preprocessing.sources.wikipedia import DISAMBIGUATION, NO_PROSE, split_wikipedia

SHARED = Path(__file__).parents[3].parent / "shared" / "data" / "wikipedia_xml"


@settings(max_examples=30)
@given(
    st.lists(st.text(st.characters(codec="utf-8", categories=["L"]), min_size=1, max_size=40), max_size=6),
    st.integers(80, 900),
    st.integers(1, 3),
    st.integers(80, 900),
)
def test_packing_and_cutting_change_nothing(tmp_path_factory, words, split_bytes, pages_per_stream, stream_bytes):
    """Plain XML, one bz2 stream, a stream per few pages and a stream per few bytes give at any split size the documents
    of the file read at once, in order, each once.
    """
    folder = tmp_path_factory.mktemp("dump")
    pages = [page(f"Title {number}", f"{word} {number}.") for number, word in enumerate(words)]
    whole = dump(*pages)
    groups = ["".join(pages[start : start + pages_per_stream]) for start in range(0, len(pages), pages_per_stream)]
    packed = {
        "plain.xml": whole,
        "one.xml.bz2": bz2.compress(whole),
        "pages.xml.bz2": multistream(HEAD.format("0.10"), *groups, TAIL),
        "bytes.xml.bz2": multistream(*(whole[at : at + stream_bytes] for at in range(0, len(whole), stream_bytes))),
    }
    (folder / "pages-index.txt.bz2").write_bytes(bz2.compress(b"600:1:Title 0\n"))
    for name, data in packed.items():
        (folder / name).write_bytes(data)
        splits = split_wikipedia(folder / name, split_bytes)
        assert [record.text for record in read(splits)] == [f"{word} {number}." for number, word in enumerate(words)]
        assert (splits[0].start, splits[-1].stop) == (0, len(data))
        assert all(before.stop == after.start for before, after in pairwise(splits))


def test_a_page_longer_than_a_chunk_is_read_whole(tmp_path, monkeypatch):
    """A page is read whole even if chunks of a few bytes divide every tag."""
    monkeypatch.setattr(dumpfile, "_CHUNK", 3)
    monkeypatch.setattr(wikipedia, "read_siteinfo", lambda path: SiteInfo("", ("File",)))
    for name, pack in (("a.xml", bytes), ("a.xml.bz2", bz2.compress)):
        (tmp_path / name).write_bytes(pack(dump(page("A", "One."), page("B", "Two."))))
        assert texts(tmp_path / name, 50) == ["One.", "Two."]


@pytest.mark.parametrize("version", ["0.9", "0.10", "0.11"])
def test_articles_only(tmp_path, version):
    """Redirects and other namespaces give nothing, and disambiguation pages and pages without prose are left out."""
    path = tmp_path / "a.xml"
    path.write_bytes(
        dump(
            page("One", "Eins [[Datei:A.jpg|thumb|x]]&nbsp;&amp; [[zwei]].[[Kategorie:Zahl]]"),
            page("Uno", "#REDIRECT [[One]]", '<ns>0</ns>\n    <redirect title="One" />'),
            page("Talk:One", "Talk.", "<ns>1</ns>"),
            page("Odd", "Odd may be:\n* one\n{{disambiguation}}"),
            page("Ort", "Ort heißt\n* Ort\n{{Begriffsklärung}}"),
            page("Λόφος", "* [[Λόφος]]\n{{ αποσαφήνιση|x}}"),
            page("An", "* [[An]]\n{{Trang_định hướng\n}}"),
            page("Table", "{|\n| 1\n|}"),
            page("Needed", "The [[bank]]{{disambiguation needed|date=May}} is cited."),
            version=version,
        )
    )
    assert texts(path) == ["Eins & zwei.", "The bank is cited."]
    assert left_out(path) == [*[DISAMBIGUATION] * 4, NO_PROSE]


def test_a_page_of_another_content_model_is_no_article(tmp_path):
    """Pages of another content model, such as items of Wikidata and JSON, are left out and counted by their model."""
    path = tmp_path / "a.xml"
    models = ["wikibase-item", "json", "css", "Scribunto", "wikitext"]
    path.write_bytes(dump(*(page("A", '{"type": "item", "text": "Words."}', model=model) for model in models)))
    assert len(texts(path)) == 1
    assert left_out(path) == [f"page of content model {model}, not wikitext" for model in models[:-1]]


@pytest.mark.parametrize("name", ["a_" * 50_000, " " * 100_000, "a b " * 25_000, "{{" * 50_000, "{{ " * 30_000])
def test_time_is_linear(tmp_path, name):
    """Recognising a disambiguation template takes time linear in the length of any template name."""
    (tmp_path / "a.xml").write_bytes(dump(page("A", f"Text.\n\n{{{{{name}!")))
    start = time.process_time()
    assert texts(tmp_path / "a.xml")[0].startswith("Text.")
    assert time.process_time() - start < 5


def test_templates_are_read_in_the_language_of_the_dump(tmp_path):
    """Templates are read in the language of the dump, and give the title of the page where they show it."""
    path = tmp_path / "pages.xml"
    path.write_bytes(dump(page("Berlin", "{{PAGENAME}} (''{{laS|Berolinum}}'') hat {{formatnum:3769495}} Einwohner.")))
    (document,) = read(split_wikipedia(path, 10**9))
    assert document.text == "Berlin (lateinisch Berolinum) hat 3.769.495 Einwohner."


def test_namespaces_are_those_of_the_dump(tmp_path):
    """A link to a category is removed by its name in the dump's language; a link with another prefix is text."""
    path = tmp_path / "a.xml"
    path.write_bytes(dump(page("A", "Zahl. [[Kategorie:Zahl]] [[Catégorie:Nombre]]")))
    assert texts(path) == ["Zahl. Catégorie:Nombre"]


NO_DUMPS = [
    ("a.xml", b""),
    ("a.xml", b"<html><body>404</body></html>"),
    ("a.xml", b"<mediawiki><page><title>A</title></page></mediawiki>"),
    ("a.xml", bz2.compress(dump())),
    ("a.xml.bz2", dump()),
    ("a.xml.bz2", b""),
    ("a.xml.bz2", bz2.compress(b"<rss/>")),
    ("a.xml.bz2", bz2.compress(dump())[:100]),
]


@pytest.mark.parametrize(("name", "data"), NO_DUMPS)
def test_a_file_that_is_no_dump_is_named(tmp_path, name, data):
    """A file that is no dump is an error that names it, before anything is read."""
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=rf"{name}: not a MediaWiki dump .* give a pages-articles file"):
        split_wikipedia(tmp_path / name, 100)


def test_a_directory_is_searched_for_parts(tmp_path):
    """Parts are read in the order of their names and index files are not; the same dump twice is an error."""
    for number in (2, 1):
        (tmp_path / f"pages-articles{number}.xml-p{number}.xml.bz2").write_bytes(
            bz2.compress(dump(page("A", f"Part {number}.")))
        )
    (tmp_path / "pages-articles-multistream-index.txt.bz2").write_bytes(bz2.compress(b"0:1:A\n"))
    assert texts(tmp_path) == ["Part 1.", "Part 2."]
    (tmp_path / "pages-articles-multistream1.xml-p1.xml.bz2").write_bytes(bz2.compress(dump(page("A", "Part 1."))))
    with pytest.raises(DataError, match=r"the same dump as .*pages-articles"):
        split_wikipedia(tmp_path, 100)


def test_splits_travel_to_workers(tmp_path):
    """Splits are small values that a worker receives, and equal when planned again."""
    (tmp_path / "a.xml").write_bytes(dump(page("A", "One.")))
    splits = split_wikipedia(tmp_path, 100)
    assert pickle.loads(pickle.dumps(splits)) == splits == split_wikipedia(tmp_path, 100)
    assert max(len(pickle.dumps(split)) for split in splits) < 1000
    assert splits[0].files == (tmp_path / "a.xml",)


@pytest.mark.skipif(not SHARED.is_dir(), reason="real dumps are not here")
def test_a_real_dump():
    """Real articles are read without markup, and the end of a truncated dump is a bad record."""
    splits = split_wikipedia(SHARED / "enwiki-2022-truncated.xml.bz2", 32 << 20)
    *records, truncated = read(splits)
    documents = [record for record in records if isinstance(record, Document)]
    assert all(isinstance(record, Document | LeftOut) for record in records)
    assert truncated.kind == DAMAGED_DUMP and "expected </mediawiki> after this page" in truncated.detail
    assert len(documents) == 129
    text = "\n".join(document.text for document in documents)
    remnants = sum(map(text.count, ("[[", "{{", "\n|-", "thumb|", "</ref>", "'''", "http://", "https://", "()")))
    assert remnants <= 5 * len(text.encode()) / 1e6
