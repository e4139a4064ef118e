"""Laws of preprocessing/sources/books.py."""

import bz2
import errno
import gzip
import io
import lzma
import re
import tarfile
import zipfile
from pathlib import Path
from random import Random

import pytest

from preprocessing.errors import DataError
from preprocessing.inputs import ArchiveFiles
from preprocessing.sources import books
from preprocessing.sources.books import plan_books
from preprocessing.sources.documents import (
    BOOK_TOO_LARGE,
    CONTRADICTORY_MARKERS,
    DAMAGED_ARCHIVE,
    DAMAGED_EPUB,
    NOT_UTF8,
    UNREADABLE,
    BadRecord,
    Document,
)

SHARED = Path(__file__).parents[4] / "shared" / "data" / "books"
SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
PACKERS = {
    ".tar": bytes,
    ".tar.gz": gzip.compress,
    ".tgz": gzip.compress,
    ".tar.bz2": bz2.compress,
    ".tar.xz": lzma.compress,
}

TEXT = "CHAPTER I\n\nIt was a _dark_\nnight.[1]\n\n“No,” she\nsaid.\n\nTiger, tiger,\nburning bright\n\nTHE END\n"
MARKDOWN = (
    "## CHAPTER I\n\nIt was a *dark*\nnight.[^1]\n\n“No,” she said.\n\n> Tiger, tiger,  \n> burning bright\n\n# THE END"
)
XHTML = (
    "<html><head><title>T</title></head><body><h2>CHAPTER I</h2><p>It was a <i>dark</i>\nnight.<sup>1</sup></p>"
    "<p>“No,” she said.</p><blockquote>Tiger, tiger,<br/>burning bright</blockquote><h3>THE END</h3></body></html>"
)
PARAGRAPHS = "CHAPTER I\nIt was a dark night.\n“No,” she said.\nTiger, tiger, burning bright\nTHE END"


def make_zip(members):
    """A zip file of these members."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def make_tar(members):
    """A tar file of these members, with one directory and one link."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, kind in (("a", tarfile.DIRTYPE), ("link.txt", tarfile.SYMTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


EPUB = make_zip(
    {
        "META-INF/container.xml": '<container><rootfiles><rootfile full-path="b.opf"/></rootfiles></container>',
        "b.opf": '<package><manifest><item id="a" href="a.xhtml" media-type="application/xhtml+xml"/></manifest>'
        '<spine><itemref idref="a"/></spine></package>',
        "a.xhtml": XHTML,
    }
)
LIBRARY = {
    "a/1.txt": TEXT.encode(),
    "a/2.md": MARKDOWN.encode(),
    "a/" + "long name " * 20 + ".txt": b"Long.",
    "b/3.EPUB": EPUB,
    **{f"c/{number:02d}.txt": f"Book {number}.\n\n".encode() * number for number in range(1, 30)},
}
OTHERS = {"a/._1.txt": b"\x00\x05\x16\x07", "b/notes.pdf": b"%PDF", "c/.hidden.md": b"no"}


def write_library(folder, members):
    """The members as files."""
    for name, data in members.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def write(path, data):
    """A file, and its path."""
    path.write_bytes(data)
    return path


def read(path, split_bytes=10**6):
    """The documents and bad records of all splits."""
    records = (record for split in plan_books(path, split_bytes) for record in split.records())
    return [record for record in records if not isinstance(record, ArchiveFiles)]


def texts(records):
    """The texts of documents, none of the records bad."""
    assert all(isinstance(record, Document) for record in records), records
    return [record.text for record in records]


@pytest.mark.parametrize("split_bytes", [1, 100, 10**9])
def test_directory_tar_and_zip_give_the_same_documents(tmp_path, split_bytes):
    """However they are packed and cut; other files, links and hidden files are left out."""
    members = {**LIBRARY, **OTHERS}
    expected = texts(read(write_library(tmp_path / "library", members), split_bytes))
    assert len(expected) == len(LIBRARY)
    assert texts(read(write(tmp_path / "a.zip", make_zip(members)), split_bytes)) == expected
    for suffix in SUFFIXES:
        packed = write(tmp_path / f"a{suffix}", PACKERS[suffix](make_tar(members)))
        assert texts(read(packed, split_bytes)) == expected, suffix


def test_splits_are_cut_by_size(tmp_path):
    """A zip and a directory into runs that hold split_bytes, a tar not at all; sizes add up to the whole."""
    folder, archive = write_library(tmp_path / "x", LIBRARY), write(tmp_path / "x.zip", make_zip(LIBRARY))
    size = sum(map(len, LIBRARY.values()))
    for path in (folder, archive):
        assert [len(plan_books(path, split_bytes)) for split_bytes in (1, 10**9)] == [len(LIBRARY), 1]
        assert sum(split.num_bytes for split in plan_books(path, 500)) == size
    assert len(plan_books(write(tmp_path / "x.tar", make_tar(LIBRARY)), 1)) == 1


def test_all_forms_of_a_book_give_the_same_paragraphs(tmp_path):
    """Plain text, Markdown and EPUB, alone or together."""
    for name, data in {"a.txt": TEXT.encode(), "a.md": MARKDOWN.encode(), "a.epub": EPUB}.items():
        assert texts(read(write(tmp_path / name, data))) == [PARAGRAPHS]
    assert texts(read(tmp_path)) == [PARAGRAPHS] * 3


BAD = {
    "latin.txt": (b"caf\xe9", NOT_UTF8),
    "cut.epub": (EPUB[:-40], DAMAGED_EPUB),
    "twice.txt": (
        b"*** END OF THE PROJECT GUTENBERG EBOOK ***\n\nText.\n\n*** START OF THE PROJECT GUTENBERG EBOOK ***",
        CONTRADICTORY_MARKERS,
    ),
    "large.txt": (b"x" * 5000, BOOK_TOO_LARGE),
}


@pytest.mark.parametrize("pack", ["directory", "zip", "tar"])
def test_bad_books_are_told_by_kind_and_place(tmp_path, monkeypatch, pack):
    """The others are read; a book with contradictory markers is kept whole and reported."""
    monkeypatch.setattr(books, "MAX_TEXT_BYTES", 4000)
    members = {"a.txt": b"Good.", **{name: data for name, (data, _) in BAD.items()}, "z.txt": b"Good."}
    members = dict(sorted(members.items()))
    make = {"directory": lambda: write_library(tmp_path / "x", members)}
    make |= {"zip": lambda: write(tmp_path / "x.zip", make_zip(members))}
    make |= {"tar": lambda: write(tmp_path / "x.tar", make_tar(members))}
    path = make[pack]()
    (split,) = plan_books(path, 10**6)
    records = list(split.records())
    bad = {split.place(record.position): record.kind for record in records if isinstance(record, BadRecord)}
    place = {"directory": f"{path}/{{}}:1"}.get(pack, f"{path}: {{}}")
    assert bad == {place.format(name): kind for name, (_, kind) in BAD.items()}
    kept = [record.text for record in records if isinstance(record, Document)]
    assert kept[0] == kept[-1] == "Good." and "Text." in kept[1] and len(kept) == 3


def test_an_unreadable_book_is_a_bad_record(tmp_path, monkeypatch):
    """Of a directory: a link to nowhere, an error of the disk. The others are read, and sizes are still known."""
    write_library(tmp_path, {"a.txt": b"One.", "c.txt": b"Three.", "d.txt": b"Four."})
    (tmp_path / "b.txt").symlink_to("nowhere")
    opened = Path.open

    def fail(path, *arguments):
        if path.name == "c.txt":
            raise OSError(errno.EIO, "Input/output error")
        return opened(path, *arguments)

    monkeypatch.setattr(Path, "open", fail)
    (split,) = plan_books(tmp_path, 10**6)
    assert split.num_bytes == len(b"One.Three.Four.")
    first, second, third, last = split.records()
    assert (first.text, last.text) == ("One.", "Four.")
    assert {second.kind, third.kind} == {UNREADABLE}
    assert second.detail.startswith("No such file") and third.detail.startswith("Input/output error")
    assert split.place(third.position) == f"{tmp_path / 'c.txt'}:1"


def test_an_error_of_the_process_is_no_bad_book(tmp_path, monkeypatch):
    """Too many open files: every other book would be bad as well."""
    write_library(tmp_path, {"a.txt": b"One."})
    (split,) = plan_books(tmp_path, 10**6)

    def fail(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(OSError, match="Too many open files"):
        list(split.records())


def test_a_zip_file_that_cannot_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    """The error is the disk's, or the permission's; fetching the file again would not help."""
    path = write(tmp_path / "a.zip", make_zip({"a.txt": b"One."}))

    def fail(*_):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(zipfile, "ZipFile", fail)
    with pytest.raises(PermissionError, match=r"a\.zip"):
        plan_books(path, 100)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_tar_that_was_cut_keeps_what_is_before(tmp_path, suffix):
    """Wherever it is cut, the books before are read and one bad record says so; nothing else happens."""
    random = Random(0)
    members = {f"{number}.txt": random.randbytes(400).hex().encode() for number in range(6)}
    packed = PACKERS[suffix](make_tar(members))
    whole = texts(read(write(tmp_path / f"a{suffix}", packed)))
    assert len(whole) == 6
    end = len(packed.rstrip(b"\0")) if suffix == ".tar" else len(packed)
    for stop in [*range(0, end, 97), end - 1]:
        *records, bad = read(write(tmp_path / f"a{suffix}", packed[:stop]))
        assert isinstance(bad, BadRecord) and bad.kind == DAMAGED_ARCHIVE
        assert texts(records) == whole[: len(records)]
        (split,) = plan_books(tmp_path / f"a{suffix}", 1)
        archive, _, member = split.place(bad.position).partition(": ")
        assert archive == str(tmp_path / f"a{suffix}")
        after = f"after {min(bad.position, len(records) + 2)} members"
        assert member in ("a", "link.txt", f"{len(records)}.txt", after)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_books_lost_with_a_tar_count_by_their_bytes(tmp_path, suffix):
    """Of damage in the middle the rest of the file, of a missing end half of the file; a whole one loses nothing."""
    random = Random(0)
    members = {f"{number}.txt": random.randbytes(40_000).hex().encode() for number in range(12)}
    packed = PACKERS[suffix](make_tar(members))

    def lost_share(data):
        (split,) = plan_books(write(tmp_path / f"a{suffix}", data), 1)
        bad = [record for record in split.records() if isinstance(record, BadRecord)]
        return sum(record.lost_bytes for record in bad) / split.num_bytes

    assert lost_share(packed) == 0
    assert lost_share(packed[: len(packed) // 2]) == pytest.approx(0.5, abs=0.01)
    damaged = bytearray(packed)
    third = packed.index(b"\0" * 100, len(packed) // 3) if suffix == ".tar" else len(packed) // 3
    damaged[third - 1000 : third + 1000] = bytes(2000) if suffix != ".tar" else b"?" * 2000
    assert 0.3 < lost_share(bytes(damaged)) < 0.8


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".zip"])
def test_a_damaged_archive_is_never_a_trace(tmp_path, suffix):
    """With any byte changed it is read, or books are bad, or one error names the file."""
    random, members = Random(1), {f"{number}.txt": b"Text of a book. " * 20 for number in range(5)}
    packed = make_zip(members) if suffix == ".zip" else PACKERS[suffix](make_tar(members))
    for _ in range(150):
        data = bytearray(packed)
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
        path = write(tmp_path / f"a{suffix}", data)
        try:
            for split in plan_books(path, 400):
                for record in split.records():
                    assert isinstance(record, ArchiveFiles) or split.place(record.position)
        except DataError as error:
            assert str(path) in str(error)


def test_a_damaged_member_of_a_zip_does_not_stop_the_others(tmp_path):
    """The checksum of one is wrong."""
    data = make_zip({"a.txt": b"One.", "b.txt": b"Two.", "c.txt": b"Three."})
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        start = archive.getinfo("b.txt").header_offset + 35
    path = write(tmp_path / "a.zip", data[:start] + bytes([data[start] ^ 255]) + data[start + 1 :])
    first, bad, last = read(path)
    assert (first.text, bad.kind, last.text) == ("One.", DAMAGED_ARCHIVE, "Three.")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.zip", b"PK, but no zip", r"a\.zip: damaged zip file"),
        (
            "a.zip",
            make_zip({"a.pdf": b""}),
            r"a\.zip: no member is read as books \(\.txt, .*left out: .*a\.pdf",
        ),
        ("a.rar", b"Rar!", r"a\.rar: is a RAR archive, which is not read as books; unpack it with `unrar x`"),
        (
            "x/a.pdf",
            b"%PDF",
            r"x: no file below it is read as books .* left out: \.pdf, which .*: 1 \(a\.pdf\)",
        ),
        ("x/..", None, "no such file or directory"),
    ],
)
def test_nothing_to_read_is_an_error(tmp_path, name, data, message):
    """Each message names the path and what would be read."""
    path = tmp_path / name
    if data is not None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    with pytest.raises(DataError, match=message):
        plan_books(tmp_path / name.split("/")[0], 100)


@pytest.mark.skipif(not SHARED.exists(), reason="needs the shared books")
def test_real_books_are_nothing_but_books():
    """Of a real archive's first books, no licence, no page number and nearly every word of the text remains."""
    (split,) = plan_books(SHARED / "gutenberg_originals.tar.gz", 10**6)
    records = split.records()
    for document in (next(records) for _ in range(2)):
        lines = document.text.split("\n")
        assert len(lines) > 800 and not re.search("Gutenberg|[_*]|Illustration", document.text)
        assert not any(re.fullmatch(r"\W*\d+\W*", line) for line in lines)
    with tarfile.open(SHARED / "gutenberg_originals.tar.gz") as archive:
        file = archive.extractfile("./pg11.txt")
        assert file is not None
        raw = re.split(r"\*\*\* .*", file.read().decode())[1]
    words, kept = len(re.findall(r"\w+", raw.replace("_", ""))), len(re.findall(r"\w+", document.text))
    assert 0.99 * words < kept <= words
