"""The kinds of input that `--sources` accepts. A new kind is a new file beside this one and a line in `KINDS`."""

from collections.abc import Callable, Iterable
from pathlib import Path

from preprocessing.documents import Split
from preprocessing.errors import DataError
from preprocessing.sources.books import plan_books
from preprocessing.sources.columns import plan_arrow, plan_parquet
from preprocessing.sources.embedded import plan_embedded
from preprocessing.sources.records import plan_files, plan_jsonl, plan_text
from preprocessing.sources.wikipedia import plan_wikipedia

Planner = Callable[[Path, int, str], Iterable[Split]]
"""(path, split_bytes, text_key) -> splits."""
KINDS: dict[str, tuple[str, Planner]] = {
    "wikipedia": (
        "MediaWiki pages-articles dumps, .xml or .xml.bz2; multistream ones are read in parallel",
        lambda path, split_bytes, _: plan_wikipedia(path, split_bytes),
    ),
    "books": (
        "each .txt, .md or .epub file is a book, freed of licence, page numbers and the like; PATH may also be a .zip, "
        ".tar, .tar.gz, .tar.bz2 or .tar.xz of them",
        lambda path, split_bytes, _: plan_books(path, split_bytes),
    ),
    "jsonl": ("JSON Lines", plan_jsonl),
    "parquet": ("a document per row", plan_parquet),
    "arrow": ("the same, as Hugging Face datasets saves it", plan_arrow),
    "text": (
        "blank lines between documents, a sentence or paragraph per line",
        lambda path, split_bytes, _: plan_text(path, split_bytes),
    ),
    "file": (
        "each .txt or .md file is a document, blank lines between paragraphs",
        lambda path, split_bytes, _: plan_files(path, split_bytes),
    ),
}
EMBEDDED = "embedded (1.5 MB of Python's own documentation)"
SOURCES_HELP = (
    f"One or more of: {', '.join(f'{kind}:PATH ({text})' for kind, (text, _) in KINDS.items())}, {EMBEDDED}. PATH is a "
    "file, or a directory that is searched; the .jsonl, .txt and .md files of jsonl, text and file may be compressed: "
    ".gz, .bz2, .xz, .zst."
)


def plan_sources(specifications: Iterable[str], split_bytes: int, text_key: str) -> list[list[Split]]:
    """The splits of each source.

    Args:
        specifications: `KIND:PATH` for a kind in KINDS, or `embedded`.
        split_bytes: about how many bytes of input make a split.
        text_key: where JSON objects, or the rows of a table, hold their text.

    Raises:
        DataError: an unknown kind, a missing path, nothing to read.
    """
    splits = [plan_source(source, split_bytes, text_key) for source in specifications]
    if not any(splits):
        raise DataError("--sources: the files are empty; give at least one document")
    return splits


def plan_source(specification: str, split_bytes: int, text_key: str) -> list[Split]:
    """The splits of one source; see `plan_sources`."""
    kind, _, path = specification.partition(":")
    if specification == "embedded":
        return [*plan_embedded()]
    if path and kind in KINDS:
        return [*KINDS[kind][1](Path(path), split_bytes, text_key)]
    known = ", ".join(f"{name}:PATH ({text})" for name, (text, _) in KINDS.items())
    raise DataError(f"--sources: {specification!r} is none of {known}, {EMBEDDED}")
