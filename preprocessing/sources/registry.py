"""The kinds of input that `--sources` accepts. A new kind is a new file beside this one and a line in `plan_source`."""

from collections.abc import Iterable
from pathlib import Path

from preprocessing.documents import Split
from preprocessing.errors import DataError
from preprocessing.sources.embedded import plan_embedded
from preprocessing.sources.records import plan_files, plan_jsonl, plan_text
from preprocessing.sources.wikipedia import plan_wikipedia

SOURCES_HELP = (
    "One or more of: jsonl:PATH (JSON Lines), text:PATH (blank lines between documents, a sentence or paragraph per "
    "line), file:PATH (each .txt or .md file is a document, blank lines between paragraphs), wikipedia:PATH (MediaWiki "
    "pages-articles dumps, .xml or .xml.bz2; multistream ones are read in parallel), embedded (1.5 MB of Python's own "
    "documentation). PATH is a file, or a directory that is searched; .jsonl and .txt may be gzipped."
)


def plan_sources(specifications: Iterable[str], split_bytes: int, text_key: str) -> list[Split]:
    """The splits of all sources, in the order given.

    Args:
        specifications: `jsonl:PATH`, `text:PATH`, `file:PATH`, `wikipedia:PATH` or `embedded`.
        split_bytes: about how many bytes of input make a split.
        text_key: where JSON objects hold their text.

    Raises:
        DataError: an unknown kind, a missing path, nothing to read.
    """
    splits = [split for source in specifications for split in plan_source(source, split_bytes, text_key)]
    if not splits:
        raise DataError("--sources: the files are empty; give at least one document")
    return splits


def plan_source(specification: str, split_bytes: int, text_key: str) -> list[Split]:
    """The splits of one source; see `plan_sources`."""
    kind, _, path = specification.partition(":")
    match kind, bool(path):
        case "jsonl", True:
            return [*plan_jsonl(Path(path), split_bytes, text_key)]
        case "text", True:
            return [*plan_text(Path(path), split_bytes)]
        case "file", True:
            return [*plan_files(Path(path), split_bytes)]
        case "wikipedia", True:
            return [*plan_wikipedia(Path(path), split_bytes)]
        case "embedded", False:
            return [*plan_embedded()]
    raise DataError(
        f"--sources: {specification!r} is none of jsonl:PATH (JSON Lines), text:PATH (blank lines between documents), "
        "file:PATH (one document per file), wikipedia:PATH (MediaWiki XML), embedded (Python's own documentation)"
    )
