"""Installed distributions that this project pins, and the strings in their source files that may be documentation.

Files are those that a distribution's RECORD names below its own directory. They are parsed, never imported.
"""

import ast
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath

from preprocessing.errors import DataError
from preprocessing.sources.docstrings import docstring_prose
from preprocessing.sources.documents import Document, LeftOut

NOT_PYTHON = "source file that this Python cannot parse"

_PIN = re.compile(r"([A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*==\s*([^\s;#]+)\s*(?:#.*)?")
_SKIPPED = {
    *("test", "tests", "testing", "_testing", "_internal", "examples", "benchmarks"),
    *("_vendor", "_vendored", "vendored", "third_party", "thirdparty", "_distutils"),
    *("models", "_inductor", "_numpy"),
}
"""Directories without documentation, with copies of other projects, or (the last line) with far less documentation than
code: transformers' models repeat each other's, and parsing these directories takes longer than parsing all others."""
_FEWEST_WORDS = 20
"""Fewest words of a string that is documentation without being a docstring."""
_QUOTED = re.compile(rb'("""|\'\'\')(.*?)\1', re.DOTALL)
_LEAST_QUOTED = 0.15
"""Least share of a file that is in triple quotes. Files with less are 45 % of the bytes and have 14 % of the prose."""
_PROSE_SHARE = 0.08
"""Estimated share of prose in the files' bytes; only sizes partitions and progress bars."""


@dataclass(frozen=True)
class Installed:
    """A pinned distribution that is installed."""

    name: str
    version: str
    root: Path
    """Directory of installed packages that it is in."""
    files: tuple[Path, ...]
    """Source files to read, in the order of their names in RECORD."""


def pinned(root: Path, project: str) -> dict[str, str]:
    """Versions of the distributions that are pinned with `==` and no condition, by name in alphabetical order.

    Args:
        root: directory of the clone, which has `pyproject.toml` and `requirements.txt`.
        project: distribution whose metadata has the same requirements, if `root` is no clone.

    Raises:
        DataError: there is neither.
    """
    if (root / "pyproject.toml").is_file():
        lines = (root / "requirements.txt").read_text(encoding="utf-8").splitlines()
    else:
        try:
            lines = metadata.requires(project) or []
        except metadata.PackageNotFoundError:
            raise DataError(
                f"source embedded: {root} is no clone and {project} is not installed, so that no requirements name the "
                "packages to read; use --sources embedded:stdlib"
            ) from None
    pins = (match for line in lines if (match := _PIN.fullmatch(line.strip())))
    return dict(sorted((pin[1].lower(), pin[2]) for pin in pins))


def find_installed(pins: dict[str, str]) -> tuple[list[Installed], list[str]]:
    """The pinned distributions that are installed, and notes on those that are not, or in another version."""
    found, notes = [], []
    for name, version in pins.items():
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            notes.append(f"{name} {version} is not installed; its documentation is missing")
            continue
        if distribution.version.partition("+")[0] != version:
            notes.append(f"{name} {distribution.version} is installed instead of {version}; its documentation differs")
        root = Path(str(distribution.locate_file(""))).resolve()
        found.append(Installed(name, distribution.version, root, tuple(_source_files(distribution, root))))
    return found, notes


def _source_files(distribution: metadata.Distribution, root: Path) -> Iterator[Path]:
    """The Python files of RECORD that lie below the directory of packages, through no link out of it."""
    for name in sorted({PurePosixPath(file) for file in distribution.files or []}):
        if name.suffix == ".py" and ".." not in name.parts and not _SKIPPED.intersection(name.parts):
            path = root / name
            if path.is_file() and path.resolve().is_relative_to(root):
                yield path


@dataclass(frozen=True)
class Packages:
    """Source files of distributions. One input split reads all of them, so that a paragraph is taken once."""

    files: tuple[Path, ...]

    @property
    def num_bytes(self) -> int:
        """Estimated bytes of prose."""
        return sum(int(path.stat().st_size * _PROSE_SHARE) for path in self.files)

    def records(self) -> Iterator[Document | LeftOut]:
        """A document per file that has prose which no file before has; its position is the index of the file."""
        seen: set[str] = set()
        for number, path in enumerate(self.files):
            source = path.read_bytes()
            if sum(len(match[1]) for match in _QUOTED.findall(source)) < _LEAST_QUOTED * len(source):
                continue
            strings = documentation(source)
            if strings is None:
                yield LeftOut(NOT_PYTHON, number)
                continue
            paragraphs = dict.fromkeys(paragraph for string in strings for paragraph in docstring_prose(string))
            if new := [paragraph for paragraph in paragraphs if paragraph not in seen]:
                seen.update(new)
                yield Document("\n".join(new), number)

    def place(self, position: int) -> str:
        """The file's path."""
        return f"{self.files[position]}:1"


def documentation(source: bytes) -> list[str] | None:
    """The docstrings of a file, and long strings that a module assigns or passes to functions such as `add_docstr`.

    Returns:
        The strings in the order of the source; None if it is no Python that this interpreter parses.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python warns of invalid escape sequences in the files of others.
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return None
    return [*_strings(tree)]


def _strings(node: ast.AST) -> Iterator[str]:
    """The strings of a module, class or function, without those of definitions inside functions, which are few."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        yield ast.get_docstring(node, clean=False) or ""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return
    for statement in _statements(node):
        if isinstance(node, ast.Module) and isinstance(statement, ast.Assign | ast.Expr):
            yield from _long_strings(statement.value)
        yield from _strings(statement)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """The statements inside a statement; expressions are not visited, which is most of the time of a full walk."""
    for name in ("body", "orelse", "handlers", "finalbody", "cases"):
        children: Iterable[ast.AST] | ast.AST = getattr(node, name, ())
        if isinstance(children, list):
            yield from children


def _long_strings(expression: ast.expr) -> Iterator[str]:
    """Long strings in an assigned value, in the arguments of a call, or alone in a statement."""
    if isinstance(expression, ast.JoinedStr):
        return
    if isinstance(expression, ast.Constant):
        if isinstance(expression.value, str) and len(expression.value.split()) >= _FEWEST_WORDS:
            yield expression.value
        return
    for child in ast.iter_child_nodes(expression):
        if isinstance(child, ast.expr | ast.keyword):
            yield from _long_strings(child.value if isinstance(child, ast.keyword) else child)
