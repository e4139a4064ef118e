"""Tables of examples: TSV, CSV, JSON Lines and Parquet, read row by row with the place of each row for messages."""

import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.tasks.lines import numbered_lines
from preprocessing.files import readable

MOST_SHOWN = 60
"""Characters of a column's name that messages show."""
SUFFIXES = (".tsv", ".csv", ".jsonl", ".parquet")
"""Endings of the names of tables. Files that end in .txt are read as .tsv."""


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    place: str
    """File and line, `FILE:LINE`; of Parquet, which has no lines, file and row."""
    values: dict[str, Any]
    """Values by column. Those of TSV and CSV are texts."""

    def __getitem__(self, column: str) -> Any:
        """Return the value of a column.

        Raises:
            ValueError: the row has no such column; the message names those that it has.
        """
        if column not in self.values:
            found = ", ".join(repr(name)[:MOST_SHOWN] for name in self.values)
            raise ValueError(f"{self.place}: has no column {column!r}, only {found}; rename one, or name another")
        return self.values[column]


def read_rows(path: Path, columns: tuple[str, ...] = (), skip_malformed: bool = False) -> list[Row]:
    """Return the rows of a table.

    In a TSV file quotation marks have no meaning, as in the files of GLUE, and only a line feed ends a line; CSV files
    are read by the rules of RFC 4180.

    Args:
        path: the file; the ending of its name says its format.
        columns: names of the columns of a TSV file without a header; empty: the first line is the header.
        skip_malformed: whether lines of a TSV file with another number of columns are left out, not an error.

    Raises:
        ValueError: the file has no rows, is not in its format, or a row has another number of columns; the message
            names file and line.
        OSError: it cannot be read.
    """
    readers = {".csv": _csv, ".jsonl": _json_lines, ".parquet": _parquet}
    reader = readers.get(path.suffix)
    rows = list(reader(path) if reader else _tsv(path, columns, skip_malformed))
    if not rows:
        raise ValueError(f"{path}: has no examples; give a file with at least one row below its header")
    return rows


def _tsv(path: Path, columns: tuple[str, ...], skip_malformed: bool) -> Iterator[Row]:
    lines = numbered_lines(path)
    header = columns or tuple(_cells(next(lines, (1, ""))[1]))
    _require_different(f"{path}:1", header)
    for number, line in lines:
        cells = _cells(line)
        if len(cells) == len(header):
            yield Row(f"{path}:{number}", dict(zip(header, cells, strict=True)))
        elif not skip_malformed and line.strip():
            raise _wrong_width(f"{path}:{number}", len(cells), header)


def _cells(line: str) -> list[str]:
    return line.removesuffix("\n").removesuffix("\r").split("\t")


def _csv(path: Path) -> Iterator[Row]:
    csv.field_size_limit(sys.maxsize)  # texts may be long; the default is 128 KiB
    reader = csv.reader(_csv_lines(path), strict=True)
    begin = 1  # first line of a record, which may have several
    try:
        header = tuple(next(reader, ()))
        _require_different(f"{path}:1", header)
        begin = reader.line_num + 1
        for cells in reader:
            if len(cells) == len(header):
                yield Row(f"{path}:{begin}", dict(zip(header, cells, strict=True)))
            elif cells:
                raise _wrong_width(f"{path}:{begin}", len(cells), header)
            begin = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{path}:{begin}: is no CSV ({error}); correct the record that begins there") from None


def _csv_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a CSV file, which a carriage return ends as well."""
    for _, line in numbered_lines(path):
        yield from io.StringIO(line, newline="")


def _require_different(place: str, columns: tuple[str, ...]) -> None:
    """Raise ValueError if two columns of a table have the same name; columns without a name are not read."""
    if doubled := [name for name in columns if name and columns.count(name) > 1]:
        raise ValueError(f"{place}: has two columns {doubled[0]!r}; rename one of them")


def _wrong_width(place: str, found: int, header: tuple[str, ...]) -> ValueError:
    return ValueError(f"{place}: has {found} columns, the header has {len(header)}: {', '.join(header)}; correct it")


def _json_lines(path: Path) -> Iterator[Row]:
    yield from json_rows(numbered_lines(path), str(path))


def json_rows(lines: Iterable[tuple[int, str]], source: str) -> Iterator[Row]:
    """Yield a row for each line with a JSON object; empty lines are left out.

    Args:
        lines: the lines with their numbers.
        source: where they are from, for messages.

    Raises:
        ValueError: a line is no JSON object; the message names it.
    """
    for number, line in lines:
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:  # ValueError: no JSON, or a number of too many digits
            raise ValueError(f"{source}:{number}: is no JSON ({error}); write one object in each line") from None
        if not isinstance(values, dict):
            raise ValueError(f"{source}:{number}: is a JSON {type(values).__name__}; write one object in each line")
        yield Row(f"{source}:{number}", values)


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        with readable(path), parquet.ParquetFile(path, memory_map=True) as file:
            _require_different(str(path), tuple(file.schema_arrow.names))
            table = file.read()
    except pyarrow.ArrowException as error:
        raise ValueError(f"{path}: is no Parquet file ({error}); write it again") from None
    for number, values in enumerate(table.to_pylist(), 1):
        yield Row(f"{path}, row {number}", values)
