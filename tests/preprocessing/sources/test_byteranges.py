"""Laws of preprocessing/sources/byteranges.py."""

import bz2
import gzip
import json
import lzma
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.errors import DataError
from preprocessing.sources import byteranges, jsonl, plaintext
from preprocessing.sources.compressed import zstd
from preprocessing.sources.documents import (
    DOCUMENT_TOO_LARGE,
    Document,
)
from preprocessing.sources.jsonl import split_jsonl
from preprocessing.sources.plaintext import split_text
from preprocessing.sources.wholefiles import split_files

PROSE = "This is a text.\n"
PACK = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd.compress}


def read(splits):
    """Return all records of all splits."""
    return [record for split in splits for record in split.records()]


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=30), max_size=20), st.integers(1, 100))
def test_cutting_a_file_changes_nothing(tmp_path_factory, texts, split_bytes):
    """In JSON Lines, any split size gives each document once, in order, with its position in the file.

    A byte-order mark at the start of a text is not part of it.
    """
    path = tmp_path_factory.mktemp("jsonl") / "a.jsonl"
    path.write_text("".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts), encoding="utf-8")
    splits = split_jsonl(path, split_bytes, "text")
    assert read(splits) == read(split_jsonl(path, 10**9, "text"))
    assert [record.text for record in read(splits)] == [text.removeprefix("\ufeff") for text in texts]
    assert sum(split.num_bytes for split in splits) == path.stat().st_size


@given(
    st.lists(st.lists(st.sampled_from(["One.", "Two three.", " four "]), min_size=1), max_size=9), st.integers(1, 60)
)
def test_cutting_a_text_file_changes_nothing(tmp_path_factory, documents, split_bytes):
    """In text of documents between blank lines, any split size gives each document once and whole."""
    path = tmp_path_factory.mktemp("text") / "a.txt"
    path.write_text("\n\n  \n".join("\n".join(document) for document in documents))
    texts = [record.text.split("\n") for record in read(split_text(path, split_bytes))]
    assert [[line for line in lines if line] for lines in texts] == documents


@pytest.mark.parametrize("split_bytes", [50, 10**6])
@pytest.mark.parametrize("name", ["jsonl", "txt"])
def test_an_endless_line_is_not_kept_in_memory(tmp_path, monkeypatch, name, split_bytes):
    """A line without an end, such as the zeros of a hole, is one bad record that counts by its bytes, and the rest is
    read in bounded memory.
    """
    for module in (byteranges, jsonl, plaintext):
        monkeypatch.setattr(module, "MAX_DOCUMENT_BYTES", 1000)
    monkeypatch.setattr(byteranges, "CHUNK_BYTES", 100)
    form = b'{"text": "%s"}\n\n' if name == "jsonl" else b"%s\n\n"
    before, after = [form % text for text in (b"One.", b"Two.")]
    for hole, size in ((b"\0" * 5000 + b"\n\n", 5001), (b"Line.\n" * 500 + b"\n", 3000)):
        path = tmp_path / f"a.{name}"
        path.write_bytes(before + hole + after)
        monkeypatch.setattr(plaintext, "read_head", lambda _: before)  # A hole comes late in a large file.
        splits = split_jsonl(path, split_bytes, "text") if name == "jsonl" else split_text(tmp_path, split_bytes)
        first, *bad, last = read(splits)
        assert "One." in first.text and "Two." in last.text
        if name == "txt" or size == 5001:
            assert [(record.kind, record.lost_bytes) for record in bad] == [(DOCUMENT_TOO_LARGE, size)]
            assert f"{size:,} bytes without an end" in bad[0].detail


@pytest.mark.parametrize("suffix", sorted(PACK))
@pytest.mark.parametrize("name", ["jsonl", "txt", "md"])
def test_a_compressed_file_is_one_split_with_the_same_records(tmp_path, name, suffix):
    """A compressed file gives the records of the plain file in one split, and is found in a directory."""
    line = b'{"text": "document %d"}\n\n' if name == "jsonl" else b"Document %d.\n\n"
    lines = b"".join(line % number for number in range(100))
    plan = {"jsonl": partial(split_jsonl, text_key="text"), "txt": split_text, "md": split_files}[name]
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
    """A truncated compressed file is an error with the path."""
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(PACK[suffix](b'{"text": "a"}\n' * 1000)[:-10])
    with pytest.raises(DataError, match=rf"a\.jsonl\{suffix}: damaged .* file"):
        read(split_jsonl(path, 100, "text"))


@pytest.mark.parametrize("suffix", ["", *sorted(PACK)])
@pytest.mark.parametrize("split_bytes", [5, 10**6])
def test_a_byte_order_mark_is_no_text(tmp_path, suffix, split_bytes):
    """A byte-order mark at the start of a file, of an appended file, or of a text is not part of the text, and
    positions count it.
    """
    mark = b"\xef\xbb\xbf"
    lines = [b'{"text": "One."}\n', b'{"text": "Two."}\n', b'{"text": "\\ufeffThree."}\n']
    pack = PACK.get(suffix, bytes)
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(pack(mark + lines[0] + mark + lines[1] + lines[2]))
    assert [(record.text, record.position) for record in read(split_jsonl(path, split_bytes, "text"))] == [
        ("One.", 0),
        ("Two.", 3 + len(lines[0])),
        ("Three.", 6 + len(lines[0]) + len(lines[1])),
    ]
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(pack(mark + b"One.\n\n" + mark + b"Two.\n"))
    assert [record.text for record in read(split_text(path, split_bytes))] == ["One.\n", "Two.\n"]
    assert read(split_files(path, split_bytes)) == [Document("One.\n\ufeffTwo.", 0)]
    path.write_bytes(pack(mark + b"\n\nOne.\n"))
    assert [record.text for record in read(split_text(path, split_bytes))] == ["One.\n"]


def test_utf16_is_read_or_refused(tmp_path):
    """A UTF-16 file of one document is decoded; one of many documents is an error, since it cannot be
    divided at bytes.
    """
    for name in ("a.txt", "a.jsonl", "b.jsonl.gz"):
        data = '{"text": "Über."}\n'.encode("utf-16")
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert read(split_files(tmp_path / "a.txt", 100)) == [Document('{"text": "Über."}', 0)]
    for plan, name in ((split_text, "a.txt"), (partial(split_jsonl, text_key="text"), "a.jsonl")):
        with pytest.raises(DataError, match=rf"{name}: UTF-16 by its byte-order mark, .*; convert it: iconv -f UTF-16"):
            plan(tmp_path / name, 100)
    with pytest.raises(DataError, match=r"b\.jsonl\.gz: UTF-16 by its byte-order mark"):
        read(split_jsonl(tmp_path / "b.jsonl.gz", 100, "text"))
