"""The kinds of sources that `--sources` accepts.

To add a kind, add a module to this package, a line to `KINDS` and a line to `KIND_HELP` of help.py.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from preprocessing.errors import DataError
from preprocessing.inputs import FileCounts, LeftOutError
from preprocessing.sources.books import BOOKS, split_books
from preprocessing.sources.columns import ARROW, PARQUET, split_arrow, split_parquet
from preprocessing.sources.documents import InputSplit
from preprocessing.sources.dumpnames import WIKIPEDIA
from preprocessing.sources.embedded import STDLIB, split_embedded
from preprocessing.sources.filenames import companion, suffix_of
from preprocessing.sources.jsonl import JSONL, split_jsonl
from preprocessing.sources.plaintext import TEXT, split_text
from preprocessing.sources.search import FileSearch, Form, read_head
from preprocessing.sources.wholefiles import FILES, split_files
from preprocessing.sources.wikipedia import split_wikipedia

Splitter = Callable[[Path, int, str, FileSearch], Iterable[InputSplit]]
"""(path, split_bytes, text_key, search) -> splits."""


class Kind(NamedTuple):
    """A kind of source."""

    form: Form
    split: Splitter
    aliases: tuple[str, ...] = ()
    """Other names for the kind, for which error messages suggest it."""


KINDS: dict[str, Kind] = {
    "wikipedia": Kind(
        WIKIPEDIA,
        lambda path, split_bytes, _, search: split_wikipedia(path, split_bytes, search),
        ("wiki", "xml", "dump", "mediawiki", "enwiki"),
    ),
    "books": Kind(
        BOOKS,
        lambda path, split_bytes, _, search: split_books(path, split_bytes, search),
        ("book", "epub", "gutenberg"),
    ),
    "jsonl": Kind(JSONL, split_jsonl, ("json", "ndjson", "jsonlines")),
    "parquet": Kind(PARQUET, split_parquet, ("pq",)),
    "arrow": Kind(ARROW, split_arrow, ("feather", "ipc", "dataset")),
    "text": Kind(TEXT, lambda path, split_bytes, _, search: split_text(path, split_bytes, search), ("txt", "plain")),
    "file": Kind(
        FILES, lambda path, split_bytes, _, search: split_files(path, split_bytes, search), ("markdown", "md", "dir")
    ),
}
_EMBEDDED = ("embedded", f"embedded:{STDLIB}")
_FILES_LOOKED_AT = 20


@dataclass
class SourceSplits:
    """The input splits of a source."""

    splits: list[InputSplit]
    files: FileCounts = field(default_factory=FileCounts)
    """Counts of the files that a directory search found; empty if the source is a single file."""
    versions: dict[str, str] = field(default_factory=dict)
    """Versions of the installed software whose documentation is read, by name; empty unless the source is embedded."""
    notes: list[str] = field(default_factory=list)
    """Notes for the log about software that is missing or has another version than the pinned one."""


def split_sources(
    specifications: Iterable[str], split_bytes: int, text_key: str, max_left_out_share: float = 0.5
) -> list[SourceSplits]:
    """Cuts each source into input splits.

    Args:
        specifications: `KIND:PATH` for a kind in KINDS, `embedded` or `embedded:stdlib`.
        split_bytes: approximate size of a split in bytes of input.
        text_key: key or column of the text in JSON objects and tables.
        max_left_out_share: largest share of a directory's bytes in files that are not read.

    Raises:
        DataError: a kind is unknown, a path is missing, there is nothing to read, or too much of a directory is left
            out.
    """
    planned = [split_source(source, split_bytes, text_key, max_left_out_share) for source in specifications]
    if not any(source.splits for source in planned):
        raise DataError("--sources: the files are empty; give at least one document")
    return planned


def split_source(specification: str, split_bytes: int, text_key: str, max_left_out_share: float = 0.5) -> SourceSplits:
    """Cuts one source into input splits; see `split_sources`."""
    name, _, path = specification.partition(":")
    if specification in _EMBEDDED:
        embedded = split_embedded(path)
        return SourceSplits(embedded.splits, versions=embedded.versions, notes=embedded.notes)
    if not path or name not in KINDS:
        raise DataError(f"--sources: {_unknown(specification)}")
    search = FileSearch()
    try:
        splits = [*KINDS[name].split(Path(path).expanduser(), split_bytes, text_key, search)]
        search.check(max_left_out_share)
    except LeftOutError as error:
        raise DataError(f"{error}{_other_kinds(search.lost, name)}") from None
    return SourceSplits(splits, search.counts)


def _unknown(specification: str) -> str:
    """Error message for a source of an unknown kind, with what may be meant."""
    meant = _meant(specification)
    hint = f"; did you mean {_either(meant)}?" if meant else ""
    known = f"{', '.join(f'{kind}:PATH' for kind in KINDS)}, {', '.join(_EMBEDDED)}"
    return f"{specification!r} is none of {known} (--help explains them){hint}"


def _meant(specification: str) -> list[str]:
    """The sources that may be meant by a path without a kind, or by another name of a kind."""
    name, colon, rest = specification.partition(":")
    path = Path(specification).expanduser()
    if (path.exists() or not colon) and (kinds := _kinds_of(path)):
        return [f"{kind}:{specification}" for kind in kinds]
    if path.exists():
        return [f"file:{specification}"]
    meant = [known for known, kind in KINDS.items() if name.lower() in (known, *kind.aliases)]
    meant = meant or get_close_matches(name.lower(), [*KINDS, "embedded"], 1)
    return [kind if kind == "embedded" else f"{kind}:{rest or 'PATH'}" for kind in meant]


def _kinds_of(path: Path) -> list[str]:
    """The kinds that read a file, or most of the first files of a directory, by name or content."""
    files = [*islice(_files_below(path), _FILES_LOOKED_AT)] if path.is_dir() else [path]
    found = {name: sum(_reads(kind.form, file) for file in files) for name, kind in KINDS.items()}
    most = max(found.values())
    return [name for name, count in found.items() if count and count == most]


def _files_below(path: Path) -> Iterable[Path]:
    """Files of a directory, for a hint in an error message; directories that cannot be listed are skipped."""
    for folder, folders, names in os.walk(path):
        folders.sort()
        files = (Path(folder, name) for name in sorted(names))
        yield from (file for file in files if not companion(str(file.relative_to(path))))


def _reads(form: Form, file: Path) -> bool:
    looks = file.is_file() and (form.any_suffix or not suffix_of(file.name))
    return form.names(file.name) or (looks and form.has_content(read_head(file)))


def _other_kinds(lost: list[Path], asked: str) -> str:
    """Hint for an error message: the other kinds that read the files that were left out."""
    files = [file for file in lost if file.is_file()][:_FILES_LOOKED_AT]
    kinds = [name for name in KINDS if name != asked and any(_reads(KINDS[name].form, file) for file in files)]
    return f"; some of these files are read as {_either([f'{kind}:PATH' for kind in kinds])}" if kinds else ""


def _either(names: list[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
