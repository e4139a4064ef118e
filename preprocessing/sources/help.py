"""Help text of the option `--sources`; `registry.py` has the readers of each kind.

This module imports nothing, so that help is shown without loading the readers.
"""

KIND_HELP = {
    "wikipedia": ("MediaWiki pages-articles dumps, XML as Wikimedia names it; multistream ones are read in parallel"),
    "books": (
        "each .txt, .md or .epub file is a book, without licence, page numbers and the like; PATH may also be a .zip, "
        ".tar, .tar.gz, .tar.bz2, .tar.xz or .tar.zst of them"
    ),
    "jsonl": "JSON Lines, or arrays of objects",
    "parquet": "a document per row",
    "arrow": "the same, as Hugging Face datasets saves it",
    "text": "blank lines between documents, a sentence or paragraph per line; or the files of WikiExtractor",
    "file": "each .txt or .md file is a document, blank lines between paragraphs",
}
"""Descriptions of the kinds, by the names in `KINDS` of registry.py."""
_EMBEDDED = (
    "embedded (6 MB of documentation of Python and of the packages that this project needs), embedded:stdlib (1.5 MB "
    "of Python's own)"
)
SOURCES_HELP = (
    f"One or more of: {', '.join(f'{name}:PATH ({text})' for name, text in KIND_HELP.items())}, {_EMBEDDED}. PATH is a "
    "file, a directory that is searched, or a quoted pattern such as 'DIRECTORY/*.txt'; text may be compressed: .gz, "
    ".bz2, .xz, .zst."
)
