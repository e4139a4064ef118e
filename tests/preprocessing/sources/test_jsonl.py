"""Laws of preprocessing/sources/jsonl.py."""

import bz2
import gzip
import json
import lzma

import pytest

from preprocessing.errors import DataError
from preprocessing.sources import jsonarray, jsonl
from preprocessing.sources.compressed import zstd
from preprocessing.sources.documents import (
    BROKEN_JSON,
    NO_TEXT_KEY,
    NOT_UTF8,
    BadRecord,
)
from preprocessing.sources.jsonl import split_jsonl

PROSE = "This is a text.\n"
PACK = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd.compress}


def read(splits):
    """Return all records of all splits."""
    return [record for split in splits for record in split.records()]


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
    """Each bad line is a record with its kind and line number, and the other lines are read."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "one"}\n\n' + line + b'\n{"text": "two"}\n')
    splits = split_jsonl(path, 10**6, "text")
    first, bad, last = read(splits)
    assert (first.text, last.text) == ("one", "two")
    assert isinstance(bad, BadRecord) and bad.kind == kind and detail in bad.detail
    assert splits[0].place(bad.position) == f"{path}:3"


OBJECTS = [{"text": "One."}, {"text": 'Twö "]}, [{', "more": [1, {"a": None}]}, {"body": "x"}, {"text": "Four."}]


@pytest.mark.parametrize("suffix", ["", *sorted(PACK)])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_an_array_of_objects_is_read(tmp_path, monkeypatch, suffix, indent, chunk):
    """An array of objects is read whatever its layout and the ends of the blocks; a place is the number
    of the element.
    """
    monkeypatch.setattr(jsonarray, "_CHUNK_BYTES", chunk)
    text = json.dumps(OBJECTS, indent=indent, ensure_ascii=False)
    (tmp_path / f"a.json{suffix}").write_bytes(PACK.get(suffix, bytes)(b"\xef\xbb\xbf" + text.encode() + b"\n"))
    (tmp_path / "b.jsonl").write_text('{"text": "Five."}\n')
    splits = split_jsonl(tmp_path, 5, "text")
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
    """The elements before a broken place are read, and half of the file counts as lost if it ends too early."""
    monkeypatch.setattr(jsonarray, "_CHUNK_BYTES", 20)
    (tmp_path / "a.json").write_bytes(data)
    one, bad = read(split_jsonl(tmp_path / "a.json", 10**6, "text"))
    assert one.text == "One." and (bad.kind, bad.position) == (BROKEN_JSON, 1)
    assert bad.detail == f"{detail}; the rest is not read"
    assert lost is None or bad.lost_bytes / len(data) == pytest.approx(lost, abs=0.03)


def test_an_element_is_not_read_beyond_all_bounds(tmp_path, monkeypatch):
    """A string that never ends is given up in bounded memory."""
    monkeypatch.setattr(jsonarray, "_CHUNK_BYTES", 100)
    monkeypatch.setattr(jsonl, "MAX_DOCUMENT_BYTES", 1000)
    (tmp_path / "a.json").write_bytes(b'[{"text": "One."}, {"text": "' + b"x" * 100_000)
    _, bad = read(split_jsonl(tmp_path / "a.json", 10**6, "text"))
    assert bad.detail.startswith("Unterminated string starting at, or longer than 1,000 characters; ")
    assert bad.lost_bytes > 99_000


def test_a_directory_with_a_file_of_no_objects_is_refused(tmp_path):
    """A directory with an error page, or a file of one value, is an error with its name before the work begins."""
    (tmp_path / "a.jsonl").write_text('{"text": "One."}\n')
    for data, message in ((b"<html><title>Forbidden", "HTML page"), (b'{\n "a": 1\n}', "one JSON value, and neither")):
        (tmp_path / "b.jsonl").write_bytes(data)
        with pytest.raises(DataError, match=rf"b\.jsonl: .*{message}"):
            split_jsonl(tmp_path, 100, "text")


def test_keys_inside_objects_and_lists_of_strings(tmp_path):
    """A key's path leads into objects, a list gives paragraphs, and the error for a missing key proposes the nearest
    one.
    """
    (tmp_path / "a.jsonl").write_text(
        '{"article": {"body": ["One.", "Two."]}}\n{"article.body": "Three."}\n{"article": {"bdy": "Four."}}\n'
    )
    one, two, bad = read(split_jsonl(tmp_path / "a.jsonl", 1000, "article.body"))
    assert (one.text, two.text, bad.kind) == ("One.\nTwo.", "Three.", NO_TEXT_KEY)
    assert bad.detail == "no key 'article.body'; available keys: article.bdy; set --text_key article.bdy"


def test_a_wrong_key_is_told_before_the_work_begins(tmp_path, monkeypatch):
    """A key that none of the first records has is an error before the work begins, since the directory would keep the
    wrong key.
    """
    monkeypatch.setattr(jsonl, "_FIRST_RECORDS", 3)
    lines = ['{"txt": "One."}\n'] * 3 + ['{"text": "Two."}\n']
    (tmp_path / "a.jsonl").write_text("\n" + "".join(lines))
    with pytest.raises(DataError, match=r"a\.jsonl:2: no key 'text'; available keys: txt; set --text_key txt"):
        split_jsonl(tmp_path / "a.jsonl", 100, "text")
    (tmp_path / "a.jsonl").write_text("".join(reversed(lines)))
    assert len(read(split_jsonl(tmp_path / "a.jsonl", 100, "text"))) == 4
