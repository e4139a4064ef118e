"""Tables of examples: TSV, CSV, JSON Lines and Parquet, read row by row with the place of each row for messages."""

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preprocessing.files import readable

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
            raise ValueError(f"{self.place}: has no column {column!r}; name one of {', '.join(map(repr, self.values))}")
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
    with readable(path):
        try:
            if path.suffix in readers:
                rows = list(readers[path.suffix](path))
            else:
                rows = list(_tsv(path, columns, skip_malformed))
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: is no UTF-8 text ({error}); convert it to UTF-8") from None
    if not rows:
        raise ValueError(f"{path}: has no examples; give a file with at least one row below its header")
    return rows


def _tsv(path: Path, columns: tuple[str, ...], skip_malformed: bool) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        header = columns or tuple(_cells(next(file, "")))
        for number, line in enumerate(file, 1 if columns else 2):
            cells = _cells(line)
            if len(cells) == len(header):
                yield Row(f"{path}:{number}", dict(zip(header, cells, strict=True)))
            elif not skip_malformed and line.strip():
                raise _wrong_width(f"{path}:{number}", len(cells), header)


def _cells(line: str) -> list[str]:
    return line.removesuffix("\n").removesuffix("\r").split("\t")


def _csv(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = tuple(next(reader, ()))
            for cells in reader:
                if len(cells) == len(header):
                    yield Row(f"{path}:{reader.line_num}", dict(zip(header, cells, strict=True)))
                elif cells:
                    raise _wrong_width(f"{path}:{reader.line_num}", len(cells), header)
        except csv.Error as error:
            raise ValueError(f"{path}:{reader.line_num}: is no CSV ({error}); correct the line") from None


def _wrong_width(place: str, found: int, header: tuple[str, ...]) -> ValueError:
    return ValueError(f"{place}: has {found} columns, the header has {len(header)}: {', '.join(header)}; correct it")


def _json_lines(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        yield from json_rows(file, str(path))


def json_rows(lines: Iterable[str], source: str) -> Iterator[Row]:
    """Yield a row for each line with a JSON object; empty lines are left out.

    Args:
        lines: the lines.
        source: where they are from, for messages.

    Raises:
        ValueError: a line is no JSON object; the message names it.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"{source}:{number}: is no JSON ({error}); write one object in each line") from None
        if not isinstance(values, dict):
            raise ValueError(f"{source}:{number}: is a JSON {type(values).__name__}; write one object in each line")
        yield Row(f"{source}:{number}", values)


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(path, memory_map=True)
    except pyarrow.ArrowException as error:
        raise ValueError(f"{path}: is no Parquet file ({error}); write it again") from None
    for number, values in enumerate(table.to_pylist(), 1):
        yield Row(f"{path}, row {number}", values)
