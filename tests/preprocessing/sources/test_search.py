"""Laws of preprocessing/sources/search.py."""

import bz2
import errno
import gzip
import os

import pytest

from preprocessing.errors import DataError
from preprocessing.inputs import LeftOutError
from preprocessing.sources.books import BOOKS
from preprocessing.sources.columns import ARROW, PARQUET
from preprocessing.sources.dumpnames import WIKIPEDIA
from preprocessing.sources.filenames import HIDDEN, PACKED, README, UNFINISHED
from preprocessing.sources.jsonl import JSONL
from preprocessing.sources.plaintext import TEXT
from preprocessing.sources.search import FileSearch
from preprocessing.sources.wholefiles import FILES

LINE, PROSE, XML = b'{"text": "One."}\n', b"One.\n\nTwo.\n", b"<mediawiki><siteinfo></siteinfo></mediawiki>"
READ = {
    JSONL: {
        **dict.fromkeys(["a.jsonl", "b.ndjson", "c.json", "D.JSONL", "wiki_00", "part-00000", "e.txt", "f"], LINE),
        **dict.fromkeys(["A.JSONL.GZ", "g.json.gz", "part-00001"], gzip.compress(LINE)),
        "wiki_01.bz2": bz2.compress(LINE),
        **dict.fromkeys(["list.json", "list.jsonl", "rows"], b"[\n  " + LINE + b"]"),
        "mark.json": b"\xef\xbb\xbf" + LINE,
    },
    TEXT: {
        **dict.fromkeys(["a.txt", "B.TXT", "c.text", "part-00000", "wiki_00", "d.txt.utf-8"], PROSE),
        "E.TXT.GZ": gzip.compress(PROSE),
        "wiki_01": b'<doc id="1" url="" title="One">\nOne\n\nText.\n</doc>\n',
        "utf16": PROSE.decode().encode("utf-16"),
    },
    FILES: dict.fromkeys(["a.txt", "B.MD", "c.markdown", "d", "x/readme.md"], PROSE),
    BOOKS: dict.fromkeys(["a.txt", "B.EPUB", "c.Md", "pg1342.txt.utf8", "1342", "x.ZIP", "y.tar.gz", "z.tzst"], b"x"),
    PARQUET: dict.fromkeys(["a.parquet", "b.pq", "c.PARQUET", "part-00000", "d.snappy"], b"PAR1"),
    ARROW: dict.fromkeys(["a.arrow", "b.feather", "c.ipc", "data-00000-of-00001"], b"ARROW1"),
    WIKIPEDIA: {
        **dict.fromkeys(["a.xml", "B.XML", "pages", "enwiki-20251101-pages-articles1.xml-p1p41242"], XML),
        **dict.fromkeys(["c.xml.gz", "dewiki-20251101-pages-articles2.xml-p1p2.gz"], gzip.compress(XML)),
        "enwiki-latest-pages-articles-multistream27.xml-p7p9.bz2": bz2.compress(XML),
    },
}
"""Names that are read, by form, and their content."""
LEFT_OUT = {
    JSONL: {"a.csv": b"text\n", "list.json": b'["One."]', "pretty.json": b'{\n"text": 1}', "b.rtf": b"{\\rtf1"},
    TEXT: {"a.pdf": b"%PDF", "b.html": b"<p>", "part-00000": LINE, "c": b"\x00\x01", "d": b"caf\xe9", "raw.en": PROSE},
    FILES: {"a.html": b"<p>", "part-00000": LINE, "wiki_00": b'<doc id="1">\nOne.\n</doc>', "b": b"<!DOCTYPE html>"},
    BOOKS: {"a.html": b"<p>", "b.pdf": b"%PDF", "c.rar": b"Rar!"},
    PARQUET: {"a.csv": b"text\n", "part-00000": b"ARROW1", "a.parquet.gz": gzip.compress(b"PAR1")},
    ARROW: {"a.parquet": b"PAR1", "part-00000": LINE},
    WIKIPEDIA: {"a.xml.7z": b"7z", "wiki_00": LINE, "a.json": LINE},
}
"""Names that are left out and count as lost."""


def write(folder, files):
    """Write these files, by name."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


forms = pytest.mark.parametrize("form", READ, ids=lambda form: form.kind)


@forms
def test_names_mean_what_is_reasonable(tmp_path, form):
    """Files with any suffix of the form, in upper case, or recognised by their content are read."""
    search = FileSearch()
    found = search.files(write(tmp_path, READ[form]), form)
    assert found == sorted(tmp_path / name for name in READ[form])
    assert search.counts.read == len(found) and not search.counts.left_out and not search.lost
    for path in found:  # A file that is named is not searched for.
        assert FileSearch().files(path, form) == [path]


@forms
def test_what_is_left_out_counts(tmp_path, form):
    """Each file of another form has a reason, and its bytes count as lost."""
    write(tmp_path, LEFT_OUT[form] | {"a" + form.suffixes[0]: b"x"})
    search = FileSearch()
    assert search.files(tmp_path, form) == [tmp_path / ("a" + form.suffixes[0])]
    assert search.lost == sorted(tmp_path / name for name in LEFT_OUT[form])
    assert search.counts.lost_bytes == sum(map(len, LEFT_OUT[form].values()))
    (tmp_path / ("a" + form.suffixes[0])).unlink()
    with pytest.raises(LeftOutError, match=f"no file below it is read as {form.kind} .*; left out: "):
        FileSearch().files(tmp_path, form)


def test_companions_are_named_and_not_lost(tmp_path):
    """Companions of data are named and not counted as lost; unfinished downloads, pointers and archives are lost."""
    names = {
        HIDDEN: "sub/.hidden/b.jsonl",
        README: "README.jsonl",
        UNFINISHED: "c.jsonl.part",
        "empty": "d.jsonl",
        "pointer of Git LFS, not the file (run `git lfs pull`)": "e.jsonl",
        PACKED: "f.zip",
    }
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:%064d\nsize 12345\n" % 7
    data = {name: LINE for name in names.values()} | {"d.jsonl": b"", "e.jsonl": pointer}
    search = FileSearch()
    assert search.files(write(tmp_path, data | {"a.jsonl": LINE}), JSONL) == [tmp_path / "a.jsonl"]
    assert search.counts.first == {reason: [name] for reason, name in names.items()}
    assert [path.name for path in search.lost] == ["c.jsonl.part", "e.jsonl", "f.zip"]


def test_what_a_pointer_stands_for_is_lost(tmp_path):
    """A pointer of Git LFS or git-annex counts as lost with the size that it states."""
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{7:064}\nsize 5000\n"
    write(tmp_path, {"a.jsonl": LINE, "b.jsonl": pointer.encode()})
    (tmp_path / "c.jsonl").symlink_to(".git/annex/objects/Xx/SHA256E-s400--abc.jsonl/SHA256E-s400--abc.jsonl")
    (tmp_path / "d.csv").symlink_to("nothing")
    search = FileSearch()
    assert search.files(tmp_path, JSONL) == [tmp_path / "a.jsonl"] and search.counts.lost_bytes == 5400
    assert search.counts.left_out["broken link"] == 2
    for target in ("nothing", "e.jsonl"):  # Whoever reads it tells that it cannot be read.
        (tmp_path / "e.jsonl").unlink(missing_ok=True)
        (tmp_path / "e.jsonl").symlink_to(target)
        assert FileSearch().files(tmp_path, JSONL) == [tmp_path / "a.jsonl", tmp_path / "e.jsonl"]


def test_a_readme_in_a_tree_of_documents_is_one(tmp_path):
    """In a tree of documents, the README at the top is a companion and others are documents; other kinds read none."""
    write(tmp_path, {"README.md": PROSE, "x/README.md": PROSE, "a.txt": PROSE})
    assert FileSearch().files(tmp_path, FILES) == [tmp_path / "a.txt", tmp_path / "x/README.md"]
    assert FileSearch().files(tmp_path, BOOKS) == [tmp_path / "a.txt"]


def test_special_files_are_not_opened(tmp_path):
    """A pipe, which would block forever, and broken links and links to directories are left out with the reason."""
    write(tmp_path, {"x/a.jsonl": LINE, "other/b.jsonl": LINE})
    os.mkfifo(tmp_path / "x/pipe.jsonl")
    (tmp_path / "x/folder").symlink_to(tmp_path / "other")
    (tmp_path / "x/broken").symlink_to(tmp_path / "nothing")
    (tmp_path / "x/link.jsonl").symlink_to(tmp_path / "other/b.jsonl")
    search = FileSearch()
    assert search.files(tmp_path / "x", JSONL) == [tmp_path / "x/a.jsonl", tmp_path / "x/link.jsonl"]
    assert search.counts.first == {
        "broken link": ["broken"],
        "link to a directory; name it by itself": ["folder"],
        "no regular file": ["pipe.jsonl"],
    }
    with pytest.raises(DataError, match=r"pipe\.jsonl: is no regular file, .*; write it to a file first"):
        FileSearch().files(tmp_path / "x/pipe.jsonl", JSONL)


def test_what_a_run_wrote_is_no_source(tmp_path):
    """The output of a run inside the source, as with `--sources text:. --out data`, is not read."""
    write(tmp_path, {"a.txt": PROSE, "data/tokenizer/vocab.txt": PROSE, "data/tokenizer/x/b.txt": PROSE})
    write(tmp_path, {"data/tokenizer/stage.json": b"{}"})
    search = FileSearch()
    assert search.files(tmp_path, TEXT) == [tmp_path / "a.txt"]
    assert search.counts.left_out == {"written by this program": 3} and not search.lost
    assert FileSearch().files(tmp_path / "data/tokenizer", TEXT) == [
        tmp_path / "data/tokenizer/vocab.txt",
        tmp_path / "data/tokenizer/x/b.txt",
    ]


def test_a_file_and_its_compressed_copy_are_refused(tmp_path):
    """A file and its compressed copy, by which every document would count twice, are an error."""
    write(tmp_path, {"a.jsonl": LINE, "a.jsonl.gz": gzip.compress(LINE)})
    with pytest.raises(DataError, match=r"a\.jsonl\.gz: the same data as .*a\.jsonl by its name; .*keep one"):
        FileSearch().files(tmp_path, JSONL)


def test_a_pattern_names_files(tmp_path):
    """Companions are left out of the files of a pattern as of a directory."""
    write(tmp_path, {"a-1.jsonl": LINE, "a-2.jsonl": LINE, "a-README": LINE, "b.jsonl": LINE, "a-x/c.jsonl": LINE})
    search = FileSearch()
    found = search.files(tmp_path / "a-*", JSONL)
    assert [path.name for path in found] == ["a-1.jsonl", "a-2.jsonl", "a-README", "c.jsonl"]
    with pytest.raises(DataError, match=r"c\*: no file matches this pattern"):
        search.files(tmp_path / "c*", JSONL)


def test_a_directory_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    """A directory that cannot be listed, as a source or on the way of a pattern, is an error; one with a hidden name is
    left out.
    """
    write(tmp_path, {"a.jsonl": LINE, "x/b.jsonl": LINE, ".cache/c.jsonl": LINE})
    real = os.scandir, os.listdir

    def failing(function):
        def listing(path="."):
            if os.path.basename(path) == "x":
                raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
            return function(path)

        return listing

    for name, function in zip(("scandir", "listdir"), real, strict=True):
        monkeypatch.setattr(os, name, failing(function))
    for place in ("", "*", "**", "*/*.jsonl", "**/*.jsonl", "x/*"):
        with pytest.raises(OSError, match=rf"^{tmp_path}/x: cannot be read \(Input/output error\); .* disk or mount"):
            FileSearch().files(tmp_path / place, JSONL)


def test_links_that_lead_back_are_not_followed(tmp_path):
    """Links that lead back to a parent directory are not followed, neither below a directory nor by `**`, and are
    counted.
    """
    write(tmp_path, {"x/a.jsonl": LINE, "x/y/b.jsonl": LINE})
    (tmp_path / "x/y/up").symlink_to("..")
    (tmp_path / "x/self").symlink_to("self")
    for place in ("x", "x/**", "x/**/*", "x/**/**"):
        search = FileSearch()
        assert search.files(tmp_path / place, JSONL) == [tmp_path / "x/a.jsonl", tmp_path / "x/y/b.jsonl"]
        assert search.counts.left_out == {"broken link": 1, "link to a directory; name it by itself": 1}
    search = FileSearch()
    assert len(search.files(tmp_path / "**/*.jsonl", JSONL)) == 2 and search.lost == [tmp_path / "x/y/up"]
    for name in ("x/self", "x/self/a.jsonl"):
        with pytest.raises(DataError, match=rf"{name}: .*x/self is a link to self, which leads to nothing"):
            FileSearch().files(tmp_path / name, JSONL)


@pytest.mark.parametrize(("name", "near"), [("corpsu.jsonl", "corpus.jsonl"), ("daat/x/y.jsonl", "data"), ("zzz", "")])
def test_a_missing_path_names_what_is_near(tmp_path, name, near):
    """The error for a missing path names similar ones in the directory of its first missing part."""
    write(tmp_path, {"corpus.jsonl": LINE, "data/x/y.jsonl": LINE})
    with pytest.raises(DataError, match="no such file or directory") as error:
        FileSearch().files(tmp_path / name, JSONL)
    expected = f"; did you mean {tmp_path / near}?" if near else "in --sources"
    assert str(error.value).endswith(expected)


@pytest.mark.parametrize(
    ("form", "data", "message"),
    [
        (JSONL, b"7z\xbc\xaf\x27\x1c", "is a 7-Zip archive, which is not read as jsonl; unpack it with `7z x`"),
        (JSONL, b"PK\x03\x04", "is a zip archive"),
        (TEXT, b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
        (JSONL, b'["One."]', r"one JSON value, and neither an object per line .*; convert it, as `jq -c '\.\[\]'`"),
        (JSONL, b'{\n"rows": [{"text": "One."}]}', r"one JSON value, .*, `jq -c '\.KEY\[\]'` for one under a key"),
        (
            JSONL,
            b"<!DOCTYPE html><title>404 Not Found</title>",
            r"holds an HTML page \('404 Not Found'\); download the",
        ),
        (JSONL, b"%PDF-1.4", "holds a PDF file; put its text in its place, or remove it"),
        (
            TEXT,
            b"<html><h1>Sign in</h1>",
            r"holds an HTML page \('Sign in'\); download the file again, or put its text",
        ),
        (FILES, b"%PDF-1.4", "holds a PDF file; put its text in its place, or remove it"),
        (ARROW, b"FEA1", "Feather version 1, which is not read; write it again as version 2"),
    ],
)
def test_a_named_file_of_another_kind_is_refused(tmp_path, form, data, message):
    """A named file whose first bytes show another format is an error."""
    write(tmp_path, {"a.dat": data})
    with pytest.raises(DataError, match=rf"a\.dat: {message}"):
        FileSearch().files(tmp_path / "a.dat", form)


def test_enough_of_a_directory_must_be_read(tmp_path):
    """Too small a share of a directory's bytes that is read is an error, and a file that proves to be empty counts as
    left out.
    """
    write(tmp_path, {"a.txt": b"x" * 60, "b.pdf": b"x" * 40, "c.zip": b"x" * 30})
    search = FileSearch()
    search.files(tmp_path, BOOKS)
    search.check(0.4)
    search.leave_out(tmp_path / "c.zip", "zip file without a book")
    assert (search.counts.read, search.counts.read_bytes, search.counts.lost_bytes) == (1, 60, 70)
    with pytest.raises(LeftOutError, match="54% of the bytes are in files that are not read"):
        search.check(0.5)
