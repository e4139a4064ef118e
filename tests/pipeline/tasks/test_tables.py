"""Tables of all formats give the same rows; what is wrong with one is said with its file and line."""

import json

import pyarrow
import pytest
from pyarrow import parquet

from pipeline.tasks.tables import read_rows

ROWS = [{"text": 'He said "yes".', "label": "1"}, {"text": "A, b", "label": "0"}]


def write(directory, suffix):
    """Write the rows in a format."""
    path = directory / f"train{suffix}"
    if suffix == ".tsv":
        path.write_bytes("﻿text\tlabel\r\n".encode() + "".join(f"{r['text']}\t{r['label']}\r\n" for r in ROWS).encode())
    elif suffix == ".csv":
        path.write_text('text,label\n"He said ""yes"".",1\n"A, b",0\n')
    elif suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, ROWS)) + "\n\n")
    else:
        parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    return path


@pytest.mark.parametrize("suffix", [".tsv", ".csv", ".jsonl", ".parquet"])
def test_formats_give_the_same_rows(tmp_path, suffix):
    """Rows depend on no format, byte order mark or Windows' ends of lines; quotation marks in TSV are text."""
    path = write(tmp_path, suffix)
    rows = read_rows(path)
    assert [row.values for row in rows] == ROWS
    assert rows[1].place == (f"{path}, row 2" if suffix == ".parquet" else f"{path}:{2 if suffix == '.jsonl' else 3}")


def test_a_file_without_a_header(tmp_path):
    """The columns are given; the first line is an example."""
    (tmp_path / "train.tsv").write_text("gj04\t1\t\tWe go.\n")
    (row,) = read_rows(tmp_path / "train.tsv", ("source", "label", "mark", "sentence"))
    assert (row["sentence"], row.place) == ("We go.", f"{tmp_path}/train.tsv:1")


def test_only_a_line_feed_ends_a_line(tmp_path):
    """A carriage return or a line separator of Unicode inside a text does not."""
    (tmp_path / "train.tsv").write_bytes("text\tlabel\na\rb\u2028c\t1\n".encode())
    assert [row["text"] for row in read_rows(tmp_path / "train.tsv")] == ["a\rb\u2028c"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", b"text\tlabel\nx\t1\ny\n", r"a.tsv:3: has 1 columns, the header has 2: text, label; correct it"),
        ("a.csv", b"text,label\nx,1,2\n", r"a.csv:2: has 3 columns"),
        ("a.csv", b'text\n"x" y\n', r"a.csv:2: is no CSV"),
        ("a.jsonl", b'{"a": 1}\n{"a"\n', r"a.jsonl:2: is no JSON"),
        ("a.jsonl", b"[1]\n", r"a.jsonl:1: is a JSON list; write one object"),
        ("a.tsv", b"text\tlabel\n", r"a.tsv: has no examples"),
        ("a.tsv", b"", r"a.tsv: has no examples"),
        ("a.tsv", b"text\n\xff\n", r"a.tsv:2: is no UTF-8 text"),
        ("a.parquet", b"nothing", r"a.parquet: is no Parquet file"),
        ("a.csv", b'text,label\n"a\nb",1\n"c\nd",1,2\n', r"a.csv:4: has 3 columns"),
        ("a.csv", b'text,label\na,1\n"b,1\nc,0\n', r"a.csv:3: is no CSV .*; correct the record that begins there"),
        ("a.csv", b"text,label,text\nx,1,2\n", r"a.csv:1: has two columns 'text'; rename one of them"),
        ("a.tsv", b"text\tlabel\ttext\nx\t1\t2\n", r"a.tsv:1: has two columns 'text'"),
        ("a.jsonl", b'{"a": 1}\n{"a": "\xe9"}\n', r"a.jsonl:2: is no UTF-8 text"),
        ("a.jsonl", b'{"a": ' + b"9" * 5000 + b"}\n", r"a.jsonl:1: is no JSON"),
    ],
)
def test_errors_name_file_and_line(tmp_path, name, content, message):
    """An error names file and line and a remedy."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_rows(tmp_path / name)


def test_long_texts_and_lines_that_a_carriage_return_ends(tmp_path):
    """A cell of a CSV file may be longer than Python's default allows; unnamed columns may have the same name."""
    text = "a b " * 50_000
    (tmp_path / "a.csv").write_bytes(f'text,,\r"{text}",1,2\rb,3,4\r'.encode())
    assert [row["text"] for row in read_rows(tmp_path / "a.csv")] == [text, "b"]


def test_malformed_lines_can_be_left_out(tmp_path):
    """Lines with another number of columns are left out where a task allows it, as QQP does."""
    (tmp_path / "a.tsv").write_text("text\tlabel\nx\nz\t1\n")
    assert [row["text"] for row in read_rows(tmp_path / "a.tsv", skip_malformed=True)] == ["z"]


def test_a_missing_column_is_named(tmp_path):
    """A missing column is an error that names the columns that exist."""
    with pytest.raises(ValueError, match=r"train.csv:2: has no column 'sentence', only 'text', 'label'; rename one"):
        read_rows(write(tmp_path, ".csv"))[0]["sentence"]
