"""Laws of preprocessing/sources/wikipedia.py on damaged and truncated dumps."""

import bz2
import gzip
import lzma
from random import Random

import pytest
from dumps import HEAD, TAIL, bad, dump, page, read, texts

from preprocessing.sources import dumpfile, wikipedia
from preprocessing.sources.compressed import zstd
from preprocessing.sources.documents import DAMAGED_DUMP, NOT_UTF8, BadRecord
from preprocessing.sources.siteinfo import SiteInfo
from preprocessing.sources.wikipedia import split_wikipedia


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
