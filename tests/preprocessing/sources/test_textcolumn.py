"""Laws of preprocessing/sources/textcolumn.py."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from preprocessing.errors import DataError
from preprocessing.sources.columns import split_arrow, split_parquet
from preprocessing.sources.documents import NO_TEXT_KEY, NOT_UTF8, BadRecord
from preprocessing.sources.textcolumn import column_of, texts

TEXTS = ["One.", None, "Zwei über.", "One.", ""]
STRINGS = pa.array(TEXTS)
LISTS = [["One.", "Two."], None, [], ["Three."]]
FLAT = {
    "string": STRINGS,
    "large_string": STRINGS.cast(pa.large_string()),
    "string_view": pa.array(TEXTS, pa.string_view()),
    "binary": STRINGS.cast(pa.binary()),
    "large_binary": STRINGS.cast(pa.large_binary()),
    "binary_view": pa.array([text and text.encode() for text in TEXTS], pa.binary_view()),
    "dictionary": STRINGS.dictionary_encode(),
    "dictionary of large_string": STRINGS.cast(pa.large_string()).dictionary_encode(),
    "run_end_encoded": pa.RunEndEncodedArray.from_arrays([1, 2, 3, 4, 5], STRINGS),
    "json": pa.ExtensionArray.from_storage(pa.json_(), STRINGS),
}
NESTED = {
    "list": pa.array(LISTS),
    "large_list": pa.array(LISTS, pa.large_list(pa.large_string())),
    "list_view": pa.array(LISTS, pa.list_view(pa.string())),
    "list of string_view": pa.array(LISTS, pa.list_(pa.string_view())),
    "list of dictionary": pa.array(LISTS, pa.list_(pa.dictionary(pa.int32(), pa.string()))),
    "list of bytes": pa.array([row and [text.encode() for text in row] for row in LISTS], pa.list_(pa.binary())),
}


def text_of(record):
    """Return the text of a document, or None for a row without."""
    assert not isinstance(record, BadRecord) or record.kind == NO_TEXT_KEY
    return getattr(record, "text", None)


@pytest.mark.parametrize("kind", FLAT)
def test_every_type_of_text_is_read(kind):
    """Every type of text is read in any layout, and a null is a bad record with its row."""
    schema = pa.schema([("id", pa.int64()), ("text", FLAT[kind].type)])
    assert column_of(schema, "text") == "text"
    records = [*texts(FLAT[kind], "text", "text", 7)]
    assert [text_of(record) for record in records] == TEXTS
    assert [record.position for record in records] == [7, 8, 9, 10, 11]
    assert records[1].detail == "'text' is null"


@pytest.mark.parametrize("kind", NESTED)
def test_lists_are_paragraphs(kind):
    """The strings of a list are paragraphs for every list type."""
    assert column_of(pa.schema([("text", NESTED[kind].type)]), "text") == "text"
    assert [text_of(record) for record in texts(NESTED[kind], "text", "text", 0)] == ["One.\nTwo.", None, "", "Three."]


def test_a_column_of_nulls_has_rows_without_text():
    """A column of nulls, as pandas writes a part without text, has rows without text, and other parts are read."""
    assert column_of(pa.schema([("text", pa.null())]), "text") == "text"
    assert {record.detail for record in texts(pa.nulls(3), "text", "text", 0)} == {"'text' is null"}


def test_text_that_is_not_utf8_is_a_bad_record():
    """Text of every type that is not UTF-8 is a bad record, and its neighbours are read."""
    flat = pa.array([b"One.", b"caf\xe9", b"Two."])
    strings = flat.view(pa.string())
    for column in (strings, flat, strings.dictionary_encode(), pa.ListArray.from_arrays([0, 1, 2, 3], strings)):
        one, bad, two = texts(column, "text", "text", 0)
        assert (one.text, bad.kind, two.text) == ("One.", NOT_UTF8, "Two.")


ARTICLE = pa.array(
    [{"body": "One.", "parts": [{"p": ["Two.", "Three."]}, {"p": ["Four."]}], "n": 1}, None, {"body": None}]
)


@pytest.mark.parametrize(
    ("key", "expected"),
    [("article.body", ["One.", None, None]), ("article.parts.p", ["Two.\nThree.\nFour.", None, None])],
)
@pytest.mark.parametrize("form", ["parquet", "arrow", "stream"])
def test_fields_of_structs_are_read(tmp_path, key, expected, form):
    """Fields of structs are read in every form of file, with other columns beside them."""
    table = pa.table({"id": [1, 2, 3], "article": ARTICLE, "z": ["x"] * 3})
    path = tmp_path / "a"
    if form == "parquet":
        pq.write_table(table, path)
    else:
        with (pa.ipc.new_file if form == "arrow" else pa.ipc.new_stream)(str(path), table.schema) as writer:
            writer.write_table(table)
    splits = (split_parquet if form == "parquet" else split_arrow)(path, 10**6, key)
    assert [text_of(record) for split in splits for record in split.records()] == expected


def test_a_column_with_a_dot_in_its_name_wins(tmp_path):
    """A column with a dot in its name takes precedence over the field that the name would lead to."""
    table = pa.table({"a": pa.array([{"b": "path"}]), "a.b": ["literal"]})
    pq.write_table(table, tmp_path / "a.parquet")
    (split,) = split_parquet(tmp_path / "a.parquet", 10**6, "a.b")
    assert split.column == "a.b" and [record.text for record in split.records()] == ["literal"]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("article.n", "'article.n' has type int64, which is no text; available columns: "),
        ("article", r"'article' has type struct<.*>, which is no text; .*; set --text_key article\.body$"),
        ("article.boddy", r"no column 'article\.boddy'; .*; set --text_key article\.body$"),
        ("body", r"no column 'body'; .*article\.parts\.p \(list<.*string>\).*; set --text_key article\.body$"),
    ],
)
def test_a_column_that_is_no_text_names_its_type_and_the_nearest(key, message):
    """The error for a column that is no text names its type and the nearest columns, with fields by their paths."""
    with pytest.raises(DataError, match=message):
        column_of(pa.schema([("id", pa.int64()), ("article", ARTICLE.type)]), key)
