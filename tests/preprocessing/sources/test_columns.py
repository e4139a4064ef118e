"""Laws of preprocessing/sources/columns.py."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.errors import DataError
from preprocessing.sources.columns import split_arrow, split_parquet
from preprocessing.sources.documents import NO_TEXT_KEY, NOT_UTF8, BadRecord

ROOT = Path(__file__).parents[3]


def write_parquet(path, table, rows=7):
    """Write a Parquet file with row groups of this many rows."""
    # No statistics: they hold whole texts, which blurs the sizes of such small row groups.
    pq.write_table(table, path, row_group_size=rows, write_page_checksum=True, write_statistics=False)


def write_arrow(path, table, rows=7, options=None):
    """Write Arrow's file format with record batches of this many rows."""
    with pa.ipc.new_file(str(path), table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=rows)


def write_stream(path, table, rows=7, options=None):
    """Write Arrow's streaming format, as `datasets` does."""
    with pa.ipc.new_stream(str(path), table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=rows)


FORMS = {
    "parquet": (write_parquet, "a.parquet", split_parquet),
    "file": (write_arrow, "a.arrow", split_arrow),
    "stream": (write_stream, "a.arrow", split_arrow),
}
forms = pytest.mark.parametrize("form", FORMS)


def make_table(texts, kind=None):
    """Return a table with other columns beside the text."""
    kind = kind or pa.string()
    numbers = pa.array(range(len(texts)))
    return pa.table({"id": numbers, "text": pa.array(texts, kind), "labels": pa.array([[1, 2]] * len(texts))})


def read(splits):
    """Return all records of all splits, each with its place."""
    return [(record, split.place(record.position)) for split in splits for record in split.records()]


def texts_of(splits):
    """Return the texts of the records."""
    return [record.text for record, _ in read(splits)]


@forms
@given(texts=st.lists(st.text(max_size=40), max_size=60), rows=st.integers(1, 80), split_bytes=st.integers(1, 5000))
def test_cutting_a_file_changes_nothing(tmp_path_factory, form, texts, rows, split_bytes):
    """Any size of row groups or batches, and of splits, gives each document once, in order, with its row.

    A byte-order mark at the start of a text is not part of it.
    """
    write, name, plan = FORMS[form]
    path = tmp_path_factory.mktemp("columns") / name
    write(path, make_table(texts), rows)
    records = read(plan(path, split_bytes, "text"))
    assert [(record.text, place) for record, place in records] == [
        (text.removeprefix("\ufeff"), f"{path}:row {number}") for number, text in enumerate(texts)
    ]


@forms
def test_both_types_of_text_are_read(tmp_path, form):
    """Columns of type string and large_string, which differ only in their offsets, are read alike."""
    write, name, plan = FORMS[form]
    texts = [f"Grüße {number}" for number in range(200)]
    for kind in (pa.string(), pa.large_string()):
        write(tmp_path / name, make_table(texts, kind), 150)
        assert texts_of(plan(tmp_path / name, 10**6, "text")) == texts


@pytest.mark.parametrize("codec", ["none", "snappy", "gzip", "zstd", "brotli", "lz4"])
@pytest.mark.parametrize("dictionary", [True, False])
def test_every_codec_of_parquet_is_read(tmp_path, codec, dictionary):
    """Parquet of every codec is read, also with repeated texts, which it stores once."""
    texts = ["one", "two", None, "two"] * 50
    pq.write_table(make_table(texts), tmp_path / "a.parquet", compression=codec, use_dictionary=dictionary)
    records = [record for record, _ in read(split_parquet(tmp_path / "a.parquet", 100, "text"))]
    assert [getattr(record, "text", None) for record in records] == texts


@pytest.mark.parametrize("write", [write_arrow, write_stream])
@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_compressed_arrow_is_read(tmp_path, write, codec):
    """Arrow files with compressed buffers are read."""
    write(tmp_path / "a.arrow", make_table(["one", "two"] * 50), 7, pa.ipc.IpcWriteOptions(compression=codec))
    assert texts_of(split_arrow(tmp_path / "a.arrow", 100, "text")) == ["one", "two"] * 50


def test_parquet_splits_follow_the_size_of_the_text(tmp_path):
    """Row groups are joined up to `split_bytes` of text, however large the other columns are."""
    texts, other = ["x" * 1000 + str(number) for number in range(64)], [str(number) * 5000 for number in range(64)]
    write_parquet(tmp_path / "a.parquet", pa.table({"other": other, "text": texts}), 4)
    splits = [*split_parquet(tmp_path / "a.parquet", 8000, "text")]
    assert [(split.start, split.stop) for split in splits] == [(number, number + 2) for number in range(0, 16, 2)]
    assert sum(split.num_bytes for split in splits) == pytest.approx(64 * 1002, rel=0.05)
    assert splits[0].files == (tmp_path / "a.parquet",)


def test_arrow_splits_are_equal_runs_of_batches(tmp_path):
    """A file is divided into equal runs of batches by its size, with no more splits than batches, and a stream is one
    split.
    """
    table = make_table(["x" * 1000] * 60)
    write_arrow(tmp_path / "a.arrow", table, 4)
    size = (tmp_path / "a.arrow").stat().st_size
    splits = [*split_arrow(tmp_path / "a.arrow", size // 4, "text")]
    assert [split.stop - split.start for split in splits] == [3] * 5
    assert sum(split.num_bytes for split in splits) == pytest.approx(size, abs=5)
    assert len([*split_arrow(tmp_path / "a.arrow", 1, "text")]) == 15
    write_stream(tmp_path / "a.arrow", table, 4)
    assert len([*split_arrow(tmp_path / "a.arrow", 1, "text")]) == 1


@forms
def test_a_row_without_text_is_told_by_its_place(tmp_path, form):
    """A null, and bytes that are not UTF-8, are bad records with their row, and the other rows are read."""
    write, name, plan = FORMS[form]
    column = pa.array([b"one", b"two", None, b"caf\xe9", b"five"], pa.binary()).view(pa.string())
    write(tmp_path / name, pa.table({"text": column}), 2)
    records = read(plan(tmp_path / name, 1, "text"))
    bad = [(record.kind, record.detail, place) for record, place in records if isinstance(record, BadRecord)]
    assert bad[0] == (NO_TEXT_KEY, "'text' is null", f"{tmp_path / name}:row 2")
    assert bad[1][0] == NOT_UTF8 and bad[1][2] == f"{tmp_path / name}:row 3"
    assert [record.text for record, _ in records if not isinstance(record, BadRecord)] == ["one", "two", "five"]


@forms
@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("body", "no column 'body'"),
        ("id", "'id' has type int64, which is no text"),
        ("labels", "'labels' has type list<.*int64>, which is no text"),
        ("labels.element", "no column 'labels.element'"),
    ],
)
def test_a_column_that_is_not_text_lists_the_others(tmp_path, form, key, problem):
    """The error for a missing column, or one that is not text, lists the columns with their types and proposes the one
    that is text.
    """
    write, name, plan = FORMS[form]
    write(tmp_path / name, make_table(["one"]))
    columns = r"id \(int64\), text \(string\), labels \(list<.*>\); set --text_key text"
    with pytest.raises(DataError, match=rf"{name}: {problem}; available columns: {columns}"):
        [*plan(tmp_path / name, 100, key)]


@forms
def test_a_file_cut_short_is_named(tmp_path, form):
    """A file that is truncated anywhere, even between two batches of a stream, is an error that names it."""
    write, name, plan = FORMS[form]
    write(tmp_path / name, make_table([f"document {number}" for number in range(60)]))
    data = (tmp_path / name).read_bytes()
    for stop in [*range(0, len(data) - 1, 61), *range(len(data) - 40, len(data)), *range(0, len(data) - 1, 64)]:
        (tmp_path / name).write_bytes(data[:stop])
        with pytest.raises(DataError, match=rf"{name}: damaged (Arrow|Parquet) file .*; download it again"):
            read(plan(tmp_path / name, 100, "text"))


@forms
def test_damage_is_an_error_or_goes_unnoticed_but_never_a_crash(tmp_path, form):
    """With any byte inverted, a file is read or is an error, and invalid offsets are not followed.

    The test reads in a separate process, which following them would end.
    """
    write, name, plan = FORMS[form]
    write(tmp_path / name, pa.table({"text": ["document", "another document"] * 2}), 2)
    program = (
        "import sys; from pathlib import Path; from preprocessing.errors import DataError\n"
        f"from preprocessing.sources.columns import {plan.__name__} as plan\n"
        "path = Path(sys.argv[1]); data = path.read_bytes(); found = 0\n"
        "for number in range(len(data)):\n"
        "    path.write_bytes(data[:number] + bytes([data[number] ^ 255]) + data[number + 1:])\n"
        "    try: [list(split.records()) for split in plan(path, 100, 'text')]\n"
        "    except DataError: found += 1\n"
        "print(found)"
    )
    arguments = [sys.executable, "-c", program, str(tmp_path / name)]
    result = subprocess.run(arguments, cwd=ROOT, env=os.environ, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 100


def test_what_is_no_such_file_is_named(tmp_path):
    """A pointer of Git LFS, a file of another format, and a directory without tables are errors that name them."""
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{7:064}\nsize 12345\n"
    (tmp_path / "a.parquet").write_text(pointer)
    with pytest.raises(DataError, match=r"a\.parquet: is a pointer of Git LFS, not the file \(run `git lfs pull`\)"):
        [*split_parquet(tmp_path / "a.parquet", 100, "text")]
    with pytest.raises(DataError, match=r"no file below it is read as parquet .*pointer of Git LFS.*1 \(a\.parquet\)"):
        [*split_parquet(tmp_path, 100, "text")]
    (tmp_path / "b.parquet").write_text("no table")
    with pytest.raises(DataError, match=r"b\.parquet: damaged Parquet file \(.*not a parquet file"):
        [*split_parquet(tmp_path / "b.parquet", 100, "text")]
    with pytest.raises(DataError, match=r"no file below it is read as arrow .*; left out: .*\.parquet"):
        [*split_arrow(tmp_path, 100, "text")]


def test_a_directory_is_searched_as_datasets_leaves_it(tmp_path):
    """Files of a directory are read in the order of their paths, and what `map` of `datasets` cached beside them is
    left out.
    """
    for name in (
        "train/data-00001-of-00002",
        "train/data-00000-of-00002",
        "train/cache-1b2c",
        "test/data-00000-of-00001",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_stream(tmp_path / f"{name}.arrow", make_table([name]))
    expected = ["test/data-00000-of-00001", "train/data-00000-of-00002", "train/data-00001-of-00002"]
    assert texts_of(split_arrow(tmp_path, 100, "text")) == expected
    assert texts_of(split_arrow(tmp_path / "train/cache-1b2c.arrow", 100, "text")) == ["train/cache-1b2c"]


@forms
def test_an_error_of_the_disk_is_not_called_damage(tmp_path, monkeypatch, form):
    """An OSError with an error number is not turned into a DataError."""

    def fail(*arguments, **options):
        raise OSError(5, "Input/output error")

    write, name, plan = FORMS[form]
    write(tmp_path / name, make_table(["one"]))
    splits = [*plan(tmp_path / name, 100, "text")]
    monkeypatch.setattr(pa, "memory_map", fail)
    monkeypatch.setattr(pq, "ParquetFile", fail)
    with pytest.raises(OSError, match="Input/output error"):
        read(splits)
