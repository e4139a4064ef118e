"""Laws of preprocessing/sources/books.py."""

import errno
import re
import tarfile
from pathlib import Path

import pytest
from library import (
    EPUB,
    LIBRARY,
    OTHERS,
    PACKERS,
    SUFFIXES,
    make_tar,
    make_zip,
    read,
    texts,
    write,
    write_library,
)

from preprocessing.errors import DataError
from preprocessing.sources import bookfile
from preprocessing.sources.books import split_books
from preprocessing.sources.documents import (
    BOOK_TOO_LARGE,
    CONTRADICTORY_MARKERS,
    DAMAGED_EPUB,
    NOT_UTF8,
    UNREADABLE,
    BadRecord,
    Document,
)

SHARED = Path(__file__).parents[4] / "shared" / "data" / "books"


@pytest.mark.parametrize("split_bytes", [1, 100, 10**9])
def test_directory_tar_and_zip_give_the_same_documents(tmp_path, split_bytes):
    """However books are packed and divided into splits, the documents are the same; other files, links and hidden files
    are left out.
    """
    members = {**LIBRARY, **OTHERS}
    expected = texts(read(write_library(tmp_path / "library", members), split_bytes))
    assert len(expected) == len(LIBRARY)
    assert texts(read(write(tmp_path / "a.zip", make_zip(members)), split_bytes)) == expected
    for suffix in SUFFIXES:
        packed = write(tmp_path / f"a{suffix}", PACKERS[suffix](make_tar(members)))
        assert texts(read(packed, split_bytes)) == expected, suffix


def test_splits_are_cut_by_size(tmp_path):
    """A zip file and a directory are divided into runs of split_bytes and a tar file is not; sizes add
    up to the whole.
    """
    folder, archive = write_library(tmp_path / "x", LIBRARY), write(tmp_path / "x.zip", make_zip(LIBRARY))
    size = sum(map(len, LIBRARY.values()))
    for path in (folder, archive):
        assert [len(split_books(path, split_bytes)) for split_bytes in (1, 10**9)] == [len(LIBRARY), 1]
        assert sum(split.num_bytes for split in split_books(path, 500)) == size
    assert len(split_books(write(tmp_path / "x.tar", make_tar(LIBRARY)), 1)) == 1


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
    """Each bad book has its kind and place, the others are read, and one with contradictory markers is kept whole and
    reported.
    """
    monkeypatch.setattr(bookfile, "MAX_TEXT_BYTES", 4000)
    members = {"a.txt": b"Good.", **{name: data for name, (data, _) in BAD.items()}, "z.txt": b"Good."}
    members = dict(sorted(members.items()))
    make = {"directory": lambda: write_library(tmp_path / "x", members)}
    make |= {"zip": lambda: write(tmp_path / "x.zip", make_zip(members))}
    make |= {"tar": lambda: write(tmp_path / "x.tar", make_tar(members))}
    path = make[pack]()
    (split,) = split_books(path, 10**6)
    records = list(split.records())
    bad = {split.place(record.position): record.kind for record in records if isinstance(record, BadRecord)}
    place = {"directory": f"{path}/{{}}:1"}.get(pack, f"{path}: {{}}")
    assert bad == {place.format(name): kind for name, (_, kind) in BAD.items()}
    kept = [record.text for record in records if isinstance(record, Document)]
    assert kept[0] == kept[-1] == "Good." and "Text." in kept[1] and len(kept) == 3


def test_an_unreadable_book_is_a_bad_record(tmp_path, monkeypatch):
    """In a directory, a broken link and an error of the disk are bad records, the others are read, and
    sizes are known.
    """
    write_library(tmp_path, {"a.txt": b"One.", "c.txt": b"Three.", "d.txt": b"Four."})
    (tmp_path / "b.txt").symlink_to("nowhere")
    opened = Path.open

    def fail(path, *arguments):
        if path.name == "c.txt":
            raise OSError(errno.EIO, "Input/output error")
        return opened(path, *arguments)

    monkeypatch.setattr(Path, "open", fail)
    (split,) = split_books(tmp_path, 10**6)
    assert split.num_bytes == len(b"One.Three.Four.")
    first, second, third, last = split.records()
    assert (first.text, last.text) == ("One.", "Four.")
    assert {second.kind, third.kind} == {UNREADABLE}
    assert second.detail.startswith("No such file") and third.detail.startswith("Input/output error")
    assert split.place(third.position) == f"{tmp_path / 'c.txt'}:1"


def test_an_error_of_the_process_is_no_bad_book(tmp_path, monkeypatch):
    """An error of the process, such as too many open files, is raised, since it would make every other book bad as
    well.
    """
    write_library(tmp_path, {"a.txt": b"One."})
    (split,) = split_books(tmp_path, 10**6)

    def fail(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(OSError, match="Too many open files"):
        list(split.records())


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
    """The error for a path without books names it and the files that would be read."""
    path = tmp_path / name
    if data is not None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    with pytest.raises(DataError, match=message):
        split_books(tmp_path / name.split("/")[0], 100)


@pytest.mark.skipif(not SHARED.exists(), reason="needs the shared books")
def test_real_books_are_nothing_but_books():
    """The first books of a real archive have no licence and no page number, and nearly every word of the text."""
    (split,) = split_books(SHARED / "gutenberg_originals.tar.gz", 10**6)
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
