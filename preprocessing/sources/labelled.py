"""A small labelled task made from the embedded source: which library a paragraph of documentation is from.

The two splits come from different files of each library, and have equally many paragraphs of each. All of them are
functions of the installed versions: files are taken in the order of a hash of their names. Paragraphs that name one of
the libraries are left out.
"""

import hashlib
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from preprocessing.errors import DataError
from preprocessing.files import write_text
from preprocessing.sources.distributions import Packages
from preprocessing.sources.documents import Document
from preprocessing.sources.embedded import find_distributions, split_library

PYTHON = "python"
"""Label of the standard library."""
DISTRIBUTIONS = ("deepspeed", "matplotlib", "numpy", "torch", "transformers")
LABELS = tuple(sorted((PYTHON, *DISTRIBUTIONS)))
COLUMNS = ("text", "label", "file")

_NAMES = re.compile(r"deepspeed|matplotlib|mpl|pyplot|numpy|python|torch|transformers|hugging\s?face", re.IGNORECASE)
_FEWEST_WORDS = 12
"""Shorter paragraphs, such as "Defaults to None if it is not given.", are the same in every library."""
_MOST_OF_A_FILE = 10
"""Most paragraphs of a file, so that no file with hundreds of them makes a split of its own."""


class Paragraph(NamedTuple):
    """A labelled paragraph."""

    text: str
    label: str
    file: str
    """Its file below the directory of the library."""


def write_examples(out: Path, train: int, dev: int) -> str:
    """Writes OUT/train.tsv and OUT/dev.tsv with the columns of COLUMNS.

    Args:
        out: directory, which is created if necessary.
        train: training paragraphs of each library.
        dev: dev paragraphs of each library.

    Returns:
        What was written, as a sentence.

    Raises:
        DataError: a library is not installed or has too few paragraphs, or a file has another content.
    """
    chosen: list[tuple[list[Paragraph], list[Paragraph]]] = []
    taken: set[str] = set()
    for label, files in find_libraries().items():
        chosen.append(choose(label, files, train, dev, frozenset(taken)))
        taken.update(paragraph.text for split in chosen[-1] for paragraph in split)
    for number, name in enumerate(("train", "dev")):
        # In turn of the libraries, so that the first lines of a file show several of them.
        rows = [COLUMNS, *(row for rows in zip(*(splits[number] for splits in chosen), strict=True) for row in rows)]
        _write(out / f"{name}.tsv", "".join("\t".join(row) + "\n" for row in rows))
    return f"{out}: {train * len(LABELS):,} train and {dev * len(LABELS):,} dev paragraphs of {', '.join(LABELS)}"


def _write(path: Path, text: str) -> None:
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise DataError(f"{path}: exists and has another content; give another --out, or remove the file")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)


def find_libraries() -> dict[str, dict[str, Path]]:
    """The source files of each library by label, as name below its directory -> path.

    Raises:
        DataError: a library is not installed.
    """
    library = Path(sysconfig.get_path("stdlib"))
    standard = [path for split in split_library() for path in split.files]
    found = {PYTHON: {path.relative_to(library).as_posix(): path for path in standard}}
    for distribution in find_distributions()[0]:
        root = distribution.root
        found[distribution.name] = {path.relative_to(root).as_posix(): path for path in distribution.files}
    for label in LABELS:
        if label not in found:
            raise DataError(f"{label} is not installed; its documentation is part of the examples: install {label}")
    return {label: found[label] for label in LABELS}


def choose(
    label: str, files: dict[str, Path], train: int, dev: int, taken: frozenset[str] = frozenset()
) -> tuple[list[Paragraph], list[Paragraph]]:
    """Chooses the training and the dev paragraphs of a library, from different files.

    Args:
        label: the library.
        files: its files, name -> path.
        train: number of training paragraphs.
        dev: number of dev paragraphs.
        taken: texts that other libraries have, which are left out.

    Raises:
        DataError: there are too few.
    """
    chosen: dict[bool, list[Paragraph]] = {True: [], False: []}
    for group in paragraphs(label, files):
        is_dev = len(chosen[True]) < dev
        chosen[is_dev] += [paragraph for paragraph in group if paragraph.text not in taken]
        if len(chosen[False]) >= train:
            return chosen[False][:train], chosen[True][:dev]
    found = len(chosen[False]) + len(chosen[True])
    raise DataError(
        f"--train {train} and --dev {dev}: {label} has about {found} paragraphs that can be used; lower one of them"
    )


def paragraphs(label: str, files: dict[str, Path]) -> Iterator[list[Paragraph]]:
    """Yields the paragraphs of each file that can be used, none of them twice."""
    names = sorted(files, key=lambda name: hashlib.sha256(name.encode()).digest())
    for record in Packages(tuple(files[name] for name in names)).records():
        if isinstance(record, Document):
            usable = [text for text in record.text.split("\n") if is_usable(text)]
            yield [Paragraph(text, label, names[record.position]) for text in usable[:_MOST_OF_A_FILE]]


def is_usable(text: str) -> bool:
    """Whether a paragraph is long enough and names no library."""
    return len(text.split()) >= _FEWEST_WORDS and not _NAMES.search(text)
