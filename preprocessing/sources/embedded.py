"""Source of English text that is installed with this project: the documentation in Python's standard library, and in
the distributions that requirements.txt pins.

It is enough to try and test the pipeline without a download: 1.5 MB of the standard library (`embedded:stdlib`) and 4.5
MB of the distributions. Files are parsed, not imported. One module, or one topic of `pydoc`, is one document. The text
has the licences of Python (PSF) and of each distribution.
"""

import ast
import inspect
import platform
import re
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from preprocessing.errors import DataError
from preprocessing.sources.byteranges import group_files
from preprocessing.sources.distributions import Installed, Packages, find_installed, pinned
from preprocessing.sources.documents import Document, InputSplit
from preprocessing.sources.listing import walk

STDLIB = "stdlib"
"""`embedded:stdlib` reads the standard library alone."""

_ROOT = Path(__file__).resolve().parents[2]
_PROJECT = "bert-pipeline"
_SKIPPED = {"test", "tests", "idlelib", "lib2to3", "turtledemo", "site-packages", "dist-packages", "__pycache__"}
_PROSE_SHARE = 0.1
"""Estimated share of prose in a module's bytes; only sizes partitions and progress bars."""
_SPLIT_BYTES = 2 << 20
"""Source code per split: parsing it is slow, about 2 MB/s."""


@dataclass(frozen=True)
class Modules:
    """Source files of the standard library."""

    files: tuple[Path, ...]

    @property
    def num_bytes(self) -> int:
        """Estimated bytes of prose."""
        return sum(int(path.stat().st_size * (1 if _is_topics(path) else _PROSE_SHARE)) for path in self.files)

    def records(self) -> Iterator[Document]:
        """A document per module that has prose, and per topic; its position is the index of the file."""
        for number, path in enumerate(self.files):
            tree = ast.parse(path.read_bytes())
            texts = _topics(tree) if _is_topics(path) else ["\n\n".join(_docstrings(tree))]
            yield from (Document(text, number) for text in map(prose, texts) if text)

    def place(self, position: int) -> str:
        """The module's path."""
        return f"{self.files[position]}:1"


@dataclass(frozen=True)
class Embedded:
    """The input splits of the source, and what determines their text."""

    splits: list[InputSplit]
    versions: dict[str, str]
    """Versions of Python and of each distribution that is read, by name."""
    notes: list[str]
    """How the pinned distributions that are not read, or in another version, change the text."""


def split_embedded(part: str = "") -> Embedded:
    """Finds the files of the source and cuts them into splits.

    Args:
        part: `STDLIB` to leave out the distributions.

    Raises:
        DataError: this Python has no source files of its library, or nothing names the pinned distributions.
    """
    splits: list[InputSplit] = [*split_library()]
    python = {"python": platform.python_version()}
    if part == STDLIB:
        return Embedded(splits, python, [])
    found, notes = find_distributions()
    files = tuple(file for installed in found for file in installed.files)
    splits += [Packages(files)] if files else []
    return Embedded(splits, python | {installed.name: installed.version for installed in found}, notes)


def find_distributions() -> tuple[list[Installed], list[str]]:
    """The installed distributions that the project pins, and notes as in `Embedded.notes`.

    Raises:
        DataError: nothing names the pinned distributions.
    """
    return find_installed(pinned(_ROOT, _PROJECT))


def split_library() -> list[Modules]:
    """Cuts the standard library of the running Python into splits, in the order of paths.

    Raises:
        DataError: this Python has no source files of its library.
    """
    root = Path(sysconfig.get_path("stdlib"))
    files = sorted(path for path in _python_files(root) if not _SKIPPED.intersection(path.relative_to(root).parts))
    if not files:
        raise DataError(f"source embedded: {root} holds no .py files; use another --sources")
    return [Modules(group) for group in group_files(files, _SPLIT_BYTES)]


def _python_files(root: Path) -> Iterator[Path]:
    return (folder / name for folder, _, names in walk(root) for name in names if name.endswith(".py"))


def _is_topics(path: Path) -> bool:
    return path.parts[-2:] == ("pydoc_data", "topics.py")


def _topics(tree: ast.Module) -> list[str]:
    """The values of `topics = {...}`."""
    tables = [node.value for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)]
    return [text for table in tables for text in ast.literal_eval(table).values()]


def _docstrings(node: ast.AST) -> Iterator[str]:
    """Docstrings of a module, its classes and functions, in the order of the source."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        yield ast.get_docstring(node) or ""
    for child in ast.iter_child_nodes(node):
        yield from _docstrings(child)


def prose(text: str) -> str:
    """The paragraphs of a reStructuredText-like text that read as English, one per line.

    Code is indented deeper than the text around it, starts with a prompt, or holds too few letters; headings and
    tables have no full stop.
    """
    paragraphs = filter(str.strip, re.split(r"\n\s*\n", inspect.cleandoc(text)))
    joined = (" ".join(paragraph.split()).replace("``", "") for paragraph in paragraphs if not _is_code(paragraph))
    return "\n".join(paragraph for paragraph in joined if _is_english(paragraph))


def _is_code(paragraph: str) -> bool:
    lines = paragraph.strip("\n").splitlines()
    return lines[0].startswith("    ") or any(line.lstrip().startswith((">>>", "...", "$ ")) for line in lines)


def _is_english(paragraph: str) -> bool:
    letters = sum(character.isalpha() or character.isspace() for character in paragraph)
    return letters >= 0.85 * len(paragraph) and paragraph.count(" ") >= 4 and paragraph.endswith((".", ":", "!", "?"))
