"""Laws of preprocessing/sources/wikipedia.py."""

import bz2
import gzip
import lzma
import pickle
import time
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing.errors import DataError
from preprocessing.sources import dumpfile, wikipedia
from preprocessing.sources.compressed import zstd
from preprocessing.sources.documents import DAMAGED_DUMP, NOT_UTF8, BadRecord, Document, LeftOut
from preprocessing.sources.siteinfo import SiteInfo
from preprocessing.sources.wikipedia import DISAMBIGUATION, NO_PROSE, split_wikipedia

SHARED = Path(__file__).parents[3].parent / "shared" / "data" / "wikipedia_xml"
HEAD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-{0}/" version="{0}" xml:lang="de">
  <siteinfo>
    <sitename>Wikipedia</sitename>
    <namespaces>
      <namespace key="-2" case="first-letter">Medium</namespace>
      <namespace key="0" case="first-letter" />
      <namespace key="6" case="first-letter">Datei</namespace>
      <namespace key="14" case="first-letter">Kategorie</namespace>
    </namespaces>
  </siteinfo>
"""
TAIL = "</mediawiki>\n"


def page(title, text, inside="<ns>0</ns>", model="wikitext"):
    """Return a page as MediaWiki exports it."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return (
        f"  <page>\n    <title>{title}</title>\n    {inside}\n    <id>1</id>\n    <revision>\n      <id>2</id>\n"
        f"      <model>{model}</model>\n"
        f'      <text bytes="{len(text)}" xml:space="preserve">{escaped}</text>\n    </revision>\n  </page>\n'
    )


def dump(*pages, version="0.10"):
    """Return a whole dump."""
    return (HEAD.format(version) + "".join(pages) + TAIL).encode()


def multistream(*parts):
    """Compress each part to a bz2 stream of its own, as Wikimedia does with 100 pages."""
    return b"".join(bz2.compress(part if isinstance(part, bytes) else part.encode()) for part in parts)


def read(splits):
    """Return all records of all splits."""
    return [record for split in splits for record in split.records()]


def texts(path, split_bytes=10**6):
    """Return the texts of a dump without bad records."""
    records = read(split_wikipedia(path, split_bytes))
    assert all(isinstance(record, Document | LeftOut) for record in records)
    return [record.text for record in records if isinstance(record, Document)]


def left_out(path):
    """Return the reasons why pages of a dump are left out."""
    return [record.reason for record in read(split_wikipedia(path, 10**6)) if isinstance(record, LeftOut)]


def bad(path, split_bytes=10**6):
    """Return the text or bad kind of each record, and the places of the bad ones."""
    splits = split_wikipedia(path, split_bytes)
    found = [(split, record) for split in splits for record in split.records()]
    places = [split.place(record.position) for split, record in found if isinstance(record, BadRecord)]
    return [getattr(record, "text", None) or record.kind for _, record in found], places


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


@pytest.mark.parametrize("pack", [bytes, bz2.compress])
def test_a_cut_page_is_told_and_its_neighbours_are_kept(tmp_path, pack):
    """A page without end, inside or at the end of the file, is a bad record with its title, and the other pages are
    read.
    """
    path = tmp_path / ("a.xml" if pack is bytes else "a.xml.bz2")
    data = dump(page("A", "One."), page("B &amp; C", "Two.")[:-30], page("D", "Three."), page("E", "Four."))
    path.write_bytes(pack(data[: data.index(b"Four")]))
    for split_bytes in (100, 10**6):
        found, places = bad(path, split_bytes)
        assert found == ["One.", DAMAGED_DUMP, "Three.", DAMAGED_DUMP]
        assert places == [f"{path}: page 'B & C'", f"{path}: page 'E'"]


def test_a_dump_cut_between_pages_is_told(tmp_path):
    """A dump that ends between two pages has a bad record for its missing end."""
    path = tmp_path / "a.xml"
    for data, expected in ((dump(page("A", "One.")), ["One."]), (dump(), [])):
        path.write_bytes(data.replace(TAIL.encode(), b""))
        records = read(split_wikipedia(path, 100))
        assert [record.text for record in records[:-1]] == expected
        assert records[-1].kind == DAMAGED_DUMP and "expected </mediawiki> after" in records[-1].detail


def test_a_broken_page_is_told_and_its_neighbours_are_kept(tmp_path):
    """Bytes that are no UTF-8, XML that is not well-formed, a page without namespace, and text between pages are bad
    records, and the other pages are read.
    """
    path = tmp_path / "a.xml"
    broken = [
        (page("B", "caf?").encode().replace(b"?", b"\xe9"), [NOT_UTF8]),
        (page("B", "two").encode().replace(b"</text>", b""), [DAMAGED_DUMP]),
        (page("B", "two?").encode().replace(b"?", b"&undefined;"), [DAMAGED_DUMP]),
        (page("B", "two", "").encode(), [DAMAGED_DUMP]),
        (page("B", "Two.").encode().replace(b"<page>", b"<pag"), [DAMAGED_DUMP]),
    ]
    for data, expected in broken:
        path.write_bytes(dump(page("A", "One."), "?", page("C", "Three.")).replace(b"?", data))
        assert bad(path)[0] == ["One.", *expected, "Three."]
        assert bad(path, 60)[0] == ["One.", *expected, "Three."]


def streams():
    """Return head, streams of two pages and tail; each page has some hundred bytes."""
    pages = [page(f"T{number}", f"Text {number}.") for number in range(8)]
    parts = [HEAD.format("0.10"), *("".join(pages[at : at + 2]) for at in range(0, 8, 2)), TAIL]
    return [bz2.compress(part.encode()) for part in parts]


@pytest.mark.parametrize("split_bytes", [40, 700, 10**6])
@pytest.mark.parametrize("place", ["header", "middle", "checksum"])
def test_damaged_bz2_costs_its_stream_only(tmp_path, split_bytes, place):
    """Damage in a stream is one bad record, and all other streams are read, whatever the splits."""
    path = tmp_path / "a.xml.bz2"
    parts = streams()
    at = {"header": 1, "middle": len(parts[2]) // 2, "checksum": -2}[place]
    damaged = bytearray(parts[2])
    damaged[at] ^= 0xFF
    path.write_bytes(b"".join([*parts[:2], bytes(damaged), *parts[3:]]))
    found, _ = bad(path, split_bytes)
    kept = [f"Text {number}." for number in (0, 1, 4, 5, 6, 7)]
    assert found.count(DAMAGED_DUMP) == 1
    # A checksum at a stream's end is checked after its text was read.
    assert [text for text in found if text != DAMAGED_DUMP and text not in ("Text 2.", "Text 3.")] == kept
    assert found[2] == DAMAGED_DUMP or found[4] == DAMAGED_DUMP


@pytest.mark.parametrize("split_bytes", [40, 700, 10**6])
def test_a_bz2_file_cut_in_a_stream_is_told(tmp_path, split_bytes):
    """Of a bz2 file that ends in a stream, the streams before are read, and one bad record states where it ends."""
    path = tmp_path / "a.xml.bz2"
    parts = streams()
    path.write_bytes(b"".join(parts[:4]) + parts[4][:50])
    records = read(split_wikipedia(path, split_bytes))
    assert [record.text for record in records[:-1]] == [f"Text {number}." for number in range(6)]
    assert records[-1].kind == DAMAGED_DUMP and "the file ends in the middle of a stream" in records[-1].detail


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".XZ", lzma.compress), (".zst", zstd.compress)])
def test_dumps_of_other_compressions_are_read_whole(tmp_path, suffix, pack):
    """A dump in another compression is one split, and half of it counts as lost if it is truncated or damaged."""
    path = tmp_path / f"a.xml-p1p9{suffix}"
    path.write_bytes(pack(dump(page("A", "One."), page("B", "Two."))))
    assert len(split_wikipedia(path, 10)) == 1 and texts(path, 10) == ["One.", "Two."]
    data = pack(large_dump())
    path.write_bytes(data[: len(data) // 2])
    assert lost_share(path, 10**6) == pytest.approx(0.5, abs=0.01)
    assert "damaged compressed data" in read(split_wikipedia(path, 10**6))[-1].detail


def large_dump():
    """A dump that bz2 compresses in several blocks."""
    random = Random(0)
    return dump(*(page(f"T{number}", random.randbytes(500).hex()) for number in range(600)))


def lost_share(path, split_bytes):
    """Return the share of a dump's text that its bad records state as lost."""
    splits = split_wikipedia(path, split_bytes)
    bad = [record for record in read(splits) if isinstance(record, BadRecord)]
    return sum(record.lost_bytes for record in bad) / sum(split.num_bytes for split in splits)


@pytest.mark.parametrize("split_bytes", [700, 10**6])
@pytest.mark.parametrize("pack", ["plain", "one stream", "multistream", "between streams"])
def test_a_missing_end_counts_as_half_of_the_file(tmp_path, pack, split_bytes):
    """A missing end counts as half of the file, however it is packed and divided, since its size is unknown; a damaged
    page counts as a page.
    """
    whole = large_dump()
    path = tmp_path / ("a.xml" if pack == "plain" else "a.xml.bz2")
    data = {"plain": whole, "one stream": bz2.compress(whole, 1)}.get(pack, b"".join(streams()))
    path.write_bytes(data)
    assert lost_share(path, split_bytes) == 0
    path.write_bytes(b"".join(streams()[:3]) if pack == "between streams" else data[: 2 * len(data) // 3])
    assert lost_share(path, split_bytes) == pytest.approx(0.5, abs=0.01)
    if pack == "plain":
        path.write_bytes(whole.replace(b"</text>", b"", 1))
        assert lost_share(path, split_bytes) == 0


@pytest.mark.parametrize("split_bytes", [700, 10**6])
def test_a_damaged_stream_counts_by_its_bytes(tmp_path, split_bytes):
    """A damaged stream of a hundred pages, or the rest of one, counts by its bytes and not as one record
    of a hundred.
    """
    path = tmp_path / "a.xml.bz2"
    parts = streams()
    size = sum(map(len, parts))
    damaged = [*parts[:2], b"?" * len(parts[2]), *parts[3:]]
    path.write_bytes(b"".join(damaged))
    assert lost_share(path, split_bytes) == pytest.approx(len(parts[2]) / size, abs=0.01)
    one = bytearray(bz2.compress(large_dump(), 1))
    one[len(one) // 4] ^= 0xFF
    path.write_bytes(one)
    assert 0.6 < lost_share(path, split_bytes) < 0.9


def test_an_endless_page_is_not_kept_in_memory(tmp_path, monkeypatch):
    """A page that is too long is a bad record, is not kept in memory, and reading continues after it."""
    monkeypatch.setattr(wikipedia, "_MAX_PAGE_BYTES", 1000)
    monkeypatch.setattr(dumpfile, "_CHUNK", 500)
    monkeypatch.setattr(wikipedia, "read_siteinfo", lambda path: SiteInfo("", ("File",)))
    path = tmp_path / "a.xml"
    path.write_bytes(dump(page("A", "One."), page("B", "x" * 5000), page("C", "Three.")))
    assert bad(path) == (["One.", DAMAGED_DUMP, "Three."], [f"{path}: page 'B'"])


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
