"""Laws of preprocessing/sources/records.py."""

import bz2
import gzip
import json
import lzma
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.errors import DataError
from preprocessing.sources import jsonarray, plaintext, records
from preprocessing.sources.compressed import zstd
from preprocessing.sources.documents import (
    BROKEN_JSON,
    DOCUMENT_TOO_LARGE,
    NO_TEXT_KEY,
    NOT_UTF8,
    OTHER_CONTENT,
    BadRecord,
    Document,
)
from preprocessing.sources.plaintext import plan_text
from preprocessing.sources.records import join_lines, plan_files, plan_jsonl

PROSE = "This is a text.\n"
PACK = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd.compress}


def read(splits):
    """All records of all splits."""
    return [record for split in splits for record in split.records()]


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=30), max_size=20), st.integers(1, 100))
def test_cutting_a_file_changes_nothing(tmp_path_factory, texts, split_bytes):
    """JSON Lines: any split size gives each document once, in order, with its position in the file.

    A byte-order mark at the start of a text is no part of it.
    """
    path = tmp_path_factory.mktemp("jsonl") / "a.jsonl"
    path.write_text("".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts), encoding="utf-8")
    splits = plan_jsonl(path, split_bytes, "text")
    assert read(splits) == read(plan_jsonl(path, 10**9, "text"))
    assert [record.text for record in read(splits)] == [text.removeprefix("\ufeff") for text in texts]
    assert sum(split.num_bytes for split in splits) == path.stat().st_size


@given(
    st.lists(st.lists(st.sampled_from(["One.", "Two three.", " four "]), min_size=1), max_size=9), st.integers(1, 60)
)
def test_cutting_a_text_file_changes_nothing(tmp_path_factory, documents, split_bytes):
    """Blank-line separated documents: any split size gives each document once, none cut in two."""
    path = tmp_path_factory.mktemp("text") / "a.txt"
    path.write_text("\n\n  \n".join("\n".join(document) for document in documents))
    texts = [record.text.split("\n") for record in read(plan_text(path, split_bytes))]
    assert [[line for line in lines if line] for lines in texts] == documents


@pytest.mark.parametrize("split_bytes", [50, 10**6])
@pytest.mark.parametrize("name", ["jsonl", "txt"])
def test_an_endless_line_is_not_kept_in_memory(tmp_path, monkeypatch, name, split_bytes):
    """A hole in a file reads as zeros without line ends: one bad record that counts by its bytes; the rest is read."""
    monkeypatch.setattr(records, "MAX_DOCUMENT_BYTES", 1000)
    monkeypatch.setattr(plaintext, "MAX_DOCUMENT_BYTES", 1000)
    monkeypatch.setattr(records, "CHUNK_BYTES", 100)
    form = b'{"text": "%s"}\n\n' if name == "jsonl" else b"%s\n\n"
    before, after = [form % text for text in (b"One.", b"Two.")]
    for hole, size in ((b"\0" * 5000 + b"\n\n", 5001), (b"Line.\n" * 500 + b"\n", 3000)):
        path = tmp_path / f"a.{name}"
        path.write_bytes(before + hole + after)
        monkeypatch.setattr(plaintext, "read_head", lambda _: before)  # A hole comes late in a large file.
        splits = plan_jsonl(path, split_bytes, "text") if name == "jsonl" else plan_text(tmp_path, split_bytes)
        first, *bad, last = read(splits)
        assert "One." in first.text and "Two." in last.text
        if name == "txt" or size == 5001:
            assert [(record.kind, record.lost_bytes) for record in bad] == [(DOCUMENT_TOO_LARGE, size)]
            assert f"{size:,} bytes without an end" in bad[0].detail


def test_a_file_too_large_for_a_document_is_told(tmp_path, monkeypatch):
    """It is not read to its end."""
    monkeypatch.setattr(records, "MAX_DOCUMENT_BYTES", 10)
    for name, text in (("a.txt", "Ten bytes."), ("b.txt", "Eleven byte")):
        (tmp_path / name).write_text(text)
    first, bad = read(plan_files(tmp_path, 1))
    assert first.text == "Ten bytes." and (bad.kind, bad.lost_bytes) == (DOCUMENT_TOO_LARGE, 11)


@pytest.mark.parametrize("suffix", sorted(PACK))
@pytest.mark.parametrize("name", ["jsonl", "txt", "md"])
def test_a_compressed_file_is_one_split_with_the_same_records(tmp_path, name, suffix):
    """A compressed file reads as the file does, and is found in a directory."""
    line = b'{"text": "document %d"}\n\n' if name == "jsonl" else b"Document %d.\n\n"
    lines = b"".join(line % number for number in range(100))
    plan = {"jsonl": partial(plan_jsonl, text_key="text"), "txt": plan_text, "md": plan_files}[name]
    for folder, ending, data in (("plain", "", lines), ("packed", suffix, PACK[suffix](lines))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"a.{name}{ending}").write_bytes(data)
    splits = plan(tmp_path / "packed", 100)
    assert len(splits) == 1 and splits[0].num_bytes > splits[0].files[0].stat().st_size
    assert read(splits) == read(plan(tmp_path / "plain", 100))
    place = splits[0].place(read(splits)[-1].position)
    assert place == f"{tmp_path / 'packed' / f'a.{name}{suffix}'}:{1 if name == 'md' else 199}"


@pytest.mark.parametrize("suffix", sorted(PACK))
def test_a_damaged_compressed_file_is_named(tmp_path, suffix):
    """A download cut short is an error with the path, not half a corpus."""
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(PACK[suffix](b'{"text": "a"}\n' * 1000)[:-10])
    with pytest.raises(DataError, match=rf"a\.jsonl\{suffix}: damaged .* file"):
        read(plan_jsonl(path, 100, "text"))


BAD_LINES = [
    (b'{"text": "caf\xe9"}', NOT_UTF8, "invalid continuation byte"),
    (b'{"text": "cut', BROKEN_JSON, "Unterminated string starting at at column 10"),
    (b'{"text": ' + b"[" * 100_000, BROKEN_JSON, "nested too deeply"),
    (b'["text"]', BROKEN_JSON, "expected an object, found list"),
    (b'{"body": "x", "id": 3}', NO_TEXT_KEY, "no key 'text'; available keys: body, id"),
    (b'{"text": null}', NO_TEXT_KEY, "'text' is None"),
]


@pytest.mark.parametrize(("line", "kind", "detail"), BAD_LINES)
def test_a_bad_line_is_told_by_kind_and_place(tmp_path, line, kind, detail):
    """Each bad line becomes a record with its kind and line number; its neighbours are read."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "one"}\n\n' + line + b'\n{"text": "two"}\n')
    splits = plan_jsonl(path, 10**6, "text")
    first, bad, last = read(splits)
    assert (first.text, last.text) == ("one", "two")
    assert isinstance(bad, BadRecord) and bad.kind == kind and detail in bad.detail
    assert splits[0].place(bad.position) == f"{path}:3"


@pytest.mark.parametrize("suffix", ["", *sorted(PACK)])
@pytest.mark.parametrize("split_bytes", [5, 10**6])
def test_a_byte_order_mark_is_no_text(tmp_path, suffix, split_bytes):
    """At the start of a file, of a further file that was appended, and of a text; positions count it."""
    mark = b"\xef\xbb\xbf"
    lines = [b'{"text": "One."}\n', b'{"text": "Two."}\n', b'{"text": "\\ufeffThree."}\n']
    pack = PACK.get(suffix, bytes)
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(pack(mark + lines[0] + mark + lines[1] + lines[2]))
    assert [(record.text, record.position) for record in read(plan_jsonl(path, split_bytes, "text"))] == [
        ("One.", 0),
        ("Two.", 3 + len(lines[0])),
        ("Three.", 6 + len(lines[0]) + len(lines[1])),
    ]
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(pack(mark + b"One.\n\n" + mark + b"Two.\n"))
    assert [record.text for record in read(plan_text(path, split_bytes))] == ["One.\n", "Two.\n"]
    assert read(plan_files(path, split_bytes)) == [Document("One.\n\ufeffTwo.", 0)]
    path.write_bytes(pack(mark + b"\n\nOne.\n"))
    assert [record.text for record in read(plan_text(path, split_bytes))] == ["One.\n"]


def test_utf16_is_read_or_refused(tmp_path):
    """A file of one document is decoded; one of many is cut at bytes, which UTF-16 does not allow."""
    for name in ("a.txt", "a.jsonl", "b.jsonl.gz"):
        data = '{"text": "Über."}\n'.encode("utf-16")
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert read(plan_files(tmp_path / "a.txt", 100)) == [Document('{"text": "Über."}', 0)]
    for plan, name in ((plan_text, "a.txt"), (partial(plan_jsonl, text_key="text"), "a.jsonl")):
        with pytest.raises(DataError, match=rf"{name}: UTF-16 by its byte-order mark, .*; convert it: iconv -f UTF-16"):
            plan(tmp_path / name, 100)
    with pytest.raises(DataError, match=r"b\.jsonl\.gz: UTF-16 by its byte-order mark"):
        read(plan_jsonl(tmp_path / "b.jsonl.gz", 100, "text"))


OTHER = {
    "404.txt": (b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title>", "holds an HTML page ('404 Not Found')"),
    "page.md": (b"\n<html><body><p>Text.", "holds an HTML page; fetch the file again, or put its text in its place"),
    "utf16.txt": ("<html><h1>Error</h1>".encode("utf-16"), "holds an HTML page ('Error')"),
    "paper.txt": (b"%PDF-1.4\n" + PROSE.encode(), "holds a PDF file; put its text in its place, or remove it"),
    "packed.txt": (gzip.compress(PROSE.encode()), "holds a gzip file"),
    "noise.txt": (bytes(range(256)) * 10, "holds binary data"),
    "lines.txt": (b'{"text": "One."}\n{"text": "Two."}\n', "holds JSON, which jsonl: reads"),
    "list.txt": (b'[{"text": "One."},\n{"text": "Two."}]', "holds JSON, which jsonl: reads"),
    "long.txt": (b'{"id": 1, "text": "' + b"Word " * 20_000 + b'"}\n', "holds JSON, which jsonl: reads"),
    "dump.txt": (b'<?xml version="1.0"?><text>One.</text>', "holds XML"),
}
TEXTS = {
    "review.txt": b"Good.<br /><br />" * 50 + PROSE.encode(),
    "intro.md": b'<p align="center"><img src="x.png"></p>\n<!-- No. -->\n' + PROSE.encode(),
    "link.md": b"[A link](http://x) and {braces}.\n",
    "brace.txt": b'{ "quoted" } text\n',
    "old.txt": PROSE.encode() + b"\x1a",
}


@pytest.mark.parametrize("name", OTHER)
def test_other_content_is_no_document(tmp_path, name):
    """In a directory it is a bad record that says what it is, with all its bytes where it would hold many documents."""
    data, message = OTHER[name]
    (tmp_path / name).write_bytes(data)
    (tmp_path / "z.txt").write_text(PROSE)
    bad, good = read(plan_files(tmp_path, 10**6))
    assert (bad.kind, bad.position) == (OTHER_CONTENT, 0) and bad.detail.startswith(message)
    assert good == Document(PROSE.strip(), 1)
    if name.endswith(".txt"):
        splits = plan_text(tmp_path, 10**6)
        bad, good = read(splits)
        assert bad.kind == OTHER_CONTENT and bad.detail.startswith(message) and bad.lost_bytes == len(data)
        assert good.text == PROSE and splits[0].place(bad.position) == f"{tmp_path / name}:1"


@pytest.mark.parametrize("name", TEXTS)
def test_text_with_some_marks_is_text(tmp_path, name):
    """Line breaks of HTML, inline HTML in Markdown, braces and brackets, a final ^Z."""
    (tmp_path / name).write_bytes(TEXTS[name])
    plans = [plan_files, plan_text][: 1 + name.endswith(".txt")]
    assert all(
        isinstance(*read(plan(place, 10**6)), Document) for plan in plans for place in (tmp_path, tmp_path / name)
    )


OBJECTS = [{"text": "One."}, {"text": 'Twö "]}, [{', "more": [1, {"a": None}]}, {"body": "x"}, {"text": "Four."}]


@pytest.mark.parametrize("suffix", ["", *sorted(PACK)])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_an_array_of_objects_is_read(tmp_path, monkeypatch, suffix, indent, chunk):
    """However it is laid out and wherever its reading is cut; a place is the number of the element."""
    monkeypatch.setattr(jsonarray, "_CHUNK_BYTES", chunk)
    text = json.dumps(OBJECTS, indent=indent, ensure_ascii=False)
    (tmp_path / f"a.json{suffix}").write_bytes(PACK.get(suffix, bytes)(b"\xef\xbb\xbf" + text.encode() + b"\n"))
    (tmp_path / "b.jsonl").write_text('{"text": "Five."}\n')
    splits = plan_jsonl(tmp_path, 5, "text")
    one, two, bad, four, five = read(splits)
    assert [record.text for record in (one, two, four, five)] == ["One.", 'Twö "]}, [{', "Four.", "Five."]
    assert (bad.kind, bad.position) == (NO_TEXT_KEY, 2)
    assert splits[0].place(bad.position) == f"{tmp_path}/a.json{suffix}: element 3"


BROKEN_ARRAYS = [
    (b'[{"text": "One."}, {"text": "cut', "Unterminated string starting at", 0.5),
    (b'[{"text": "One."}, ', "Expecting value", 0.5),
    (b'[{"text": "One."}', "expected ',', found the end of the file", 0.5),
    (b'[{"text": "One."} {"text": "Two."}]' + b" " * 100, "expected ',', found '{'", 0.87),
    (b'[{"text": "One."}, {"text": caf\xe9}]', "not UTF-8: invalid continuation byte", None),
    (b'[{"text": "One."}, ' + b"[" * 100_000, "nested too deeply", 1),
    (b'[{"text": "One."}]\n[{"text": "Two."}]', "the array ends, but '[' follows", 0.5),
]


@pytest.mark.parametrize(("data", "detail", "lost"), BROKEN_ARRAYS)
def test_a_broken_array_tells_what_is_lost(tmp_path, monkeypatch, data, detail, lost):
    """What comes before is read; half a file counts as lost where it stops before its end."""
    monkeypatch.setattr(jsonarray, "_CHUNK_BYTES", 20)
    (tmp_path / "a.json").write_bytes(data)
    one, bad = read(plan_jsonl(tmp_path / "a.json", 10**6, "text"))
    assert one.text == "One." and (bad.kind, bad.position) == (BROKEN_JSON, 1)
    assert bad.detail == f"{detail}; what follows is not read"
    assert lost is None or bad.lost_bytes / len(data) == pytest.approx(lost, abs=0.03)


def test_an_element_is_not_read_beyond_all_bounds(tmp_path, monkeypatch):
    """A string that never ends is given up, in memory of about the limit."""
    monkeypatch.setattr(jsonarray, "_CHUNK_BYTES", 100)
    monkeypatch.setattr(records, "MAX_DOCUMENT_BYTES", 1000)
    (tmp_path / "a.json").write_bytes(b'[{"text": "One."}, {"text": "' + b"x" * 100_000)
    _, bad = read(plan_jsonl(tmp_path / "a.json", 10**6, "text"))
    assert bad.detail.startswith("Unterminated string starting at, or longer than 1,000 characters; ")
    assert bad.lost_bytes > 99_000


def test_a_directory_with_a_file_of_no_objects_is_refused(tmp_path):
    """Before the work begins, by its name: an error page, or one value."""
    (tmp_path / "a.jsonl").write_text('{"text": "One."}\n')
    for data, message in ((b"<html><title>Forbidden", "HTML page"), (b'{\n "a": 1\n}', "one JSON value, and neither")):
        (tmp_path / "b.jsonl").write_bytes(data)
        with pytest.raises(DataError, match=rf"b\.jsonl: .*{message}"):
            plan_jsonl(tmp_path, 100, "text")


def test_keys_inside_objects_and_lists_of_strings(tmp_path):
    """A key's path leads into objects; a list gives paragraphs; the nearest key is named where there is none."""
    (tmp_path / "a.jsonl").write_text(
        '{"article": {"body": ["One.", "Two."]}}\n{"article.body": "Three."}\n{"article": {"bdy": "Four."}}\n'
    )
    one, two, bad = read(plan_jsonl(tmp_path / "a.jsonl", 1000, "article.body"))
    assert (one.text, two.text, bad.kind) == ("One.\nTwo.", "Three.", NO_TEXT_KEY)
    assert bad.detail == "no key 'article.body'; available keys: article.bdy; set --text_key article.bdy"


def test_a_wrong_key_is_told_before_the_work_begins(tmp_path, monkeypatch):
    """If no one of the first records has it; a job that began would keep its directory for the wrong key."""
    monkeypatch.setattr(records, "_FIRST_RECORDS", 3)
    lines = ['{"txt": "One."}\n'] * 3 + ['{"text": "Two."}\n']
    (tmp_path / "a.jsonl").write_text("\n" + "".join(lines))
    with pytest.raises(DataError, match=r"a\.jsonl:2: no key 'text'; available keys: txt; set --text_key txt"):
        plan_jsonl(tmp_path / "a.jsonl", 100, "text")
    (tmp_path / "a.jsonl").write_text("".join(reversed(lines)))
    assert len(read(plan_jsonl(tmp_path / "a.jsonl", 100, "text"))) == 4


def test_a_file_is_a_document_and_a_directory_is_searched(tmp_path):
    """`file:` joins the lines of a paragraph; files come in the order of their paths, other suffixes are left out."""
    for name, text in (("b/x.txt", "Three."), ("a.md", "One\nline.\n\n\nTwo."), ("c.pdf", "no")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    splits = plan_files(tmp_path, 1)
    assert read(splits) == [Document("One line.\nTwo.", 0), Document("Three.", 0)]
    assert splits[1].place(0) == f"{tmp_path / 'b/x.txt'}:1"


def test_a_file_that_is_not_utf8_is_a_bad_record(tmp_path):
    """Latin-1 is not guessed at."""
    (tmp_path / "a.txt").write_bytes(b"caf\xe9")
    for plan in (plan_files, plan_text):
        (record,) = read(plan(tmp_path / "a.txt", 100))
        assert isinstance(record, BadRecord) and record.kind == NOT_UTF8


def test_files_are_read_in_the_order_of_their_paths(tmp_path):
    """Whatever order the file system lists them in."""
    names = [f"{number * 7 % 50:02d}.txt" for number in range(50)]
    for name in names:
        (tmp_path / name).write_text(name)
    assert [record.text for record in read(plan_files(tmp_path, 20))] == sorted(names)


@pytest.mark.parametrize(
    ("name", "message"), [("none", "no such file or directory"), ("", "no file below it is read as file .*it is empty")]
)
def test_nothing_to_read_is_an_error(tmp_path, name, message):
    """A wrong path and an empty directory are told apart."""
    with pytest.raises(DataError, match=message):
        plan_files(tmp_path / name, 100)


def test_paragraphs_are_what_blank_lines_separate():
    """Lines of a paragraph are joined by a space, white space at their ends goes."""
    assert join_lines("\n a \nb\n \n\nc\n") == "a b\nc"
