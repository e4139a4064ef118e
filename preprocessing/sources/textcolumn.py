"""Finds the text column of an Arrow table and reads its values, whatever their Arrow type.

Text is a string of any layout, bytes, a dictionary or list of them (joined as paragraphs), or a field of a struct
(`article.body`). A column of type null holds rows without text.
"""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from preprocessing.errors import DataError
from preprocessing.sources.byteranges import decode
from preprocessing.sources.documents import NO_TEXT_KEY, NOT_UTF8, BadRecord, Document
from preprocessing.sources.textkey import NoTextError, find_text, nearest
from preprocessing.textfiles import MARK

_UNDECODED = {
    pa.string(): pa.binary(),
    pa.large_string(): pa.large_binary(),
    pa.string_view(): pa.binary_view(),
}
"""String types and the binary type of each: text that is not UTF-8 is a bad record, not a damaged file."""
_MOST_COLUMNS = 20


def column_of(schema: pa.Schema, key: str) -> str:
    """The name of the column that a key leads to: the key itself, or the part of it before a dot.

    Raises:
        DataError: there is no such column, or it holds no text; the message does not name the file.
    """
    starts = [key, *(key[:place] for place, character in enumerate(key) if character == ".")]
    found = ""
    for name in (start for start in starts if schema.get_field_index(start) >= 0):
        inner = _type_at(schema.field(name).type, key[len(name) + 1 :])
        if inner is not None and _is_text(inner):
            return name
        found = found or ("" if inner is None else f"{key!r} has type {inner}, which is no text")
    fields = [field for column in schema for field in _fields(column.name, column.type)]
    columns = ", ".join(f"{name} ({kind})" for name, kind in fields[:_MOST_COLUMNS])
    more = ", ..." * (len(fields) > _MOST_COLUMNS)
    meant = nearest(key, {name: 1 for name, kind in fields if _is_text(kind)})
    raise DataError(
        f"{found or f'no column {key!r}'}; available columns: {columns}{more}; set --text_key {meant}".rstrip()
    )


def texts(column: pa.Array, name: str, key: str, first_row: int) -> Iterator[Document | BadRecord]:
    """One record for each row of a column.

    Raises:
        pa.ArrowInvalid: the column is damaged.
    """
    column = _undecoded(column)
    column.validate(full=True)
    is_flat = _is_bytes(column.type)
    for row, cell in enumerate(column, first_row):
        if is_flat:
            value = cell.as_py()
            yield BadRecord(NO_TEXT_KEY, row, f"{key!r} is null") if value is None else decode(value, row)
        else:
            yield _nested(cell, name, key, row)


def _nested(cell: pa.Scalar, name: str, key: str, row: int) -> Document | BadRecord:
    if not cell.is_valid:
        return BadRecord(NO_TEXT_KEY, row, f"{name!r} is null")
    try:
        return Document(find_text({name: cell.as_py()}, key).removeprefix(MARK), row)
    except NoTextError as error:
        return BadRecord(NO_TEXT_KEY, row, str(error))
    except UnicodeDecodeError as error:
        return BadRecord(NOT_UTF8, row, str(error))


def _undecoded(column: pa.Array) -> pa.Array:
    """The column with binary values in place of strings, without dictionary, run-end or extension encoding."""
    if isinstance(column, pa.ExtensionArray):
        return _undecoded(column.storage)
    if pt.is_null(column.type):
        return column.cast(pa.binary())
    if pt.is_run_end_encoded(column.type):
        column.validate(full=True)
        return _undecoded(pc.run_end_decode(column))
    column = column.view(_bytes_type(column.type))
    if not pt.is_dictionary(column.type):
        return column
    column.validate(full=True)  # Before the indices are followed.
    return column.dictionary_decode()


def _bytes_type(kind: pa.DataType) -> pa.DataType:
    """The type with binary in place of string, at any depth of lists, structs and dictionaries."""
    if pt.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _bytes_type(kind.value_type), kind.ordered)
    if pt.is_struct(kind):
        return pa.struct([field.with_type(_bytes_type(field.type)) for field in kind])
    if pt.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(_bytes_type(kind.value_type)), kind.list_size)
    for is_kind, make in _LISTS:
        if is_kind(kind):
            return make(kind.value_field.with_type(_bytes_type(kind.value_type)))
    return _UNDECODED.get(kind, kind)


_LISTS = (
    (pt.is_list, pa.list_),
    (pt.is_large_list, pa.large_list),
    (pt.is_list_view, pa.list_view),
    (pt.is_large_list_view, pa.large_list_view),
)


def _is_list(kind: pa.DataType) -> bool:
    return pt.is_fixed_size_list(kind) or any(is_kind(kind) for is_kind, _ in _LISTS)


def _is_bytes(kind: pa.DataType) -> bool:
    return kind in _UNDECODED.values() or pt.is_fixed_size_binary(kind)


def _is_text(kind: pa.DataType) -> bool:
    """Whether the values of a type are text, or lists of text."""
    if isinstance(kind, pa.BaseExtensionType):
        return _is_text(kind.storage_type)
    if _is_list(kind) or pt.is_dictionary(kind) or pt.is_run_end_encoded(kind):
        return _is_text(kind.value_type)
    return pt.is_null(kind) or kind in _UNDECODED or _is_bytes(kind)


def _type_at(kind: pa.DataType, path: str) -> pa.DataType | None:
    """The type at a path inside a type; None if there is none."""
    if not path:
        return kind
    if _is_list(kind):
        return _type_at(kind.value_type, path)
    if not pt.is_struct(kind):
        return None
    ends = [len(path), *(place for place, character in enumerate(path) if character == ".")]
    for end in (end for end in ends if kind.get_field_index(path[:end]) >= 0):
        if (found := _type_at(kind.field(path[:end]).type, path[end + 1 :])) is not None:
            return found
    return None


def _fields(name: str, kind: pa.DataType) -> Iterator[tuple[str, pa.DataType]]:
    """The leaves of a column, by their paths."""
    inner = kind.value_type if _is_list(kind) else kind
    if pt.is_struct(inner) and inner.num_fields:
        for field in inner:
            yield from _fields(f"{name}.{field.name}", field.type)
    else:
        yield name, kind
