"""Files and directories that the user may not read or write are errors that name them, or counted bad records."""

import re

import pytest
from jobs import SERIAL, command, content, finish
from permissions import obey_permissions


def relink(path, target):
    """Replace a file by a link."""
    path.unlink()
    path.symlink_to(target)


UNREADABLE = {
    "forbidden": (lambda path: path.chmod(0), "Permission denied"),
    "dangling link": (lambda path: relink(path, "nowhere"), "[Nn]o such file"),
    "failing read": (lambda path: relink(path, "/proc/self/mem"), "Input/output error"),
}
INPUT_NAMES = {"jsonl": "a.jsonl.gz", "text": "a.txt.gz", "file": "a.txt", "books": "a.epub", "parquet": "a.parquet"}
INPUT_NAMES |= {"arrow": "a.arrow", "wikipedia": "a.xml"}


@pytest.mark.parametrize("kind", INPUT_NAMES)
@pytest.mark.parametrize("fault", UNREADABLE)
def test_an_unreadable_file_is_named(tmp_path, finish_here, fault, kind):
    """For every kind of source, an unreadable file in a directory is an error that names it."""
    spoil, message = UNREADABLE[fault]
    path = tmp_path / "in" / INPUT_NAMES[kind]
    path.parent.mkdir()
    path.write_bytes(b"x")
    spoil(path)
    arguments = ["extract", "--sources", f"{kind}:{path.parent}", "--out", str(tmp_path / "out"), *SERIAL]
    status, text = finish_here(arguments)
    assert status == 1 and text.startswith("error: ") and str(path) in text and re.search(message, text), text
    assert not (tmp_path / "out" / "documents" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("pattern", "mode"), [("", 0), ("", 0o444), ("/**/*.txt", 0), ("/*/*.txt", 0o111), ("/sub/b.txt", 0)]
)
def test_an_unreadable_directory_is_named(tmp_path, finish_here, pattern, mode):
    """An unreadable directory below a source or on the way of a pattern is an error, and nothing is begun."""
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for name in ("a.txt", "sub/b.txt"):
        (tmp_path / "in" / name).write_text("This is a text. It has two sentences.\n")
    (tmp_path / "in" / "sub").chmod(mode)
    arguments = ["extract", "--sources", f"file:{tmp_path / 'in'}{pattern}", "--out", str(tmp_path / "out"), *SERIAL]
    status, text = finish_here(arguments)
    assert status == 1 and text.startswith(f"error: {tmp_path / 'in' / 'sub'}") and text.count("\n") == 1, text
    assert "cannot be read (Permission denied); its content may be sound: correct permissions" in text
    assert not (tmp_path / "out").exists()


@pytest.fixture
def library(tmp_path):
    """A directory of 50 books, the seventh of which is not readable."""
    folder = tmp_path / "books"
    folder.mkdir()
    for number in range(50):
        (folder / f"{number:02d}.txt").write_text(f"This is book {number}. It was written by hand.\n")
    (folder / "06.txt").chmod(0)
    return folder


def extract(library, out, *options):
    """Return the arguments of the extraction of a library."""
    return ["extract", "--sources", f"books:{library}", "--out", str(out), *options, *SERIAL]


def test_one_unreadable_book_of_fifty_is_counted_and_named(library, tmp_path):
    """The job continues without an unreadable book, which a rerun mentions; once it is readable, a rerun is an error,
    and nothing is changed.
    """
    out = tmp_path / "out"
    status, text = finish(extract(library, out), preexec_fn=obey_permissions)
    assert status == 0 and "49 documents read" in text and "1 of 50 records are bad" in text
    assert f"unreadable file: 1, first at\n    {library / '06.txt'}:1: Permission denied" in text
    made = content(out)
    status, text = finish(extract(library, out), preexec_fn=obey_permissions)
    assert status == 0 and f"made without 1 file(s) that could not be read, the first {library / '06.txt'}" in text
    (library / "06.txt").chmod(0o644)
    status, text = finish(extract(library, out), preexec_fn=obey_permissions)
    assert status == 1 and f'{library / "06.txt"} was "cannot be read: no permission"' in text
    assert content(out) == made


def test_too_many_unreadable_books_fail_and_are_read_once_put_right(library, tmp_path, finish_here):
    """Too many unreadable books are an error; once they are readable, the same command produces what an undisturbed run
    does.
    """
    (library / "08.txt").chmod(0)
    (library / "09.txt").unlink()
    (library / "09.txt").symlink_to("../nowhere")
    status, text = finish_here(extract(library, tmp_path / "out", "--split_mb", "0.0002"))
    assert status == 1 and text.startswith("error: 3 of 50 records are bad")
    assert all(str(library / name) in text for name in ("06.txt", "08.txt", "09.txt"))
    (library.parent / "nowhere").write_text("This book is back.\n")
    for name in ("06.txt", "08.txt"):
        (library / name).chmod(0o644)
    for out in ("out", "whole"):
        status, text = finish(extract(library, tmp_path / out, "--split_mb", "0.0002"))
        assert status == 0 and "50 documents read" in text
    assert content(tmp_path / "out") == content(tmp_path / "whole")


@pytest.mark.parametrize("existing", [True, False])
def test_an_output_directory_without_write_permission_is_named(corpus, tmp_path, finish_here, existing):
    """An output directory in which no file can be made is an error that names it."""
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o555)
    out = folder if existing else folder / "out"
    status, text = finish_here(command(corpus, out, *SERIAL))
    assert status == 1 and f"error: [Errno 13] Permission denied: '{out}" in text and "Traceback" not in text
    assert not list(folder.iterdir())
