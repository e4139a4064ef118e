"""Files in the form of CoNLL: a word with its tag in each line, and an empty line after each sentence."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.tasks.config import TokensConfig
from pipeline.tasks.entities import to_iob2
from pipeline.tasks.lines import numbered_lines
from pipeline.tasks.splits import DEV, TEST, TRAIN

_SUFFIXES = (".conll", ".txt", ".tsv", ".iob", ".iob2", ".bio")
FILES = {
    TRAIN: (*(f"train{suffix}" for suffix in _SUFFIXES), "eng.train", "wnut17train.conll"),
    DEV: (
        *(f"{stem}{end}" for stem in (DEV, "valid", "validation") for end in _SUFFIXES),
        "eng.testa",
        "emerging.dev.conll",
    ),
    TEST: (*(f"test{suffix}" for suffix in _SUFFIXES), "eng.testb", "emerging.test.annotated"),
}
"""Names of the files of each split; the last ones are those of CoNLL-2003 and of WNUT-17."""
DOCUMENT = "-DOCSTART-"
"""Word of a line between documents, which is no sentence."""


class Sentence(NamedTuple):
    """The words of a sentence with their tags."""

    path: Path
    line: int
    """Line of the first word, counted from 1; each word has a line."""
    words: list[str]
    tags: list[str]
    """Tags in IOB2; empty if the file has none."""


def read_splits(data: Path, columns: TokensConfig) -> dict[str, list[Sentence]]:
    """Return the sentences of the splits whose files are in a directory.

    Raises:
        ValueError: the file of train or dev is missing, or a split has several files, or one is not in its format.
    """
    found = {}
    for split, names in FILES.items():
        paths = [data / name for name in names if (data / name).is_file()]
        if len(paths) > 1:
            raise ValueError(f"{data}: has both {paths[0].name} and {paths[1].name}; keep one of them")
        if paths:
            found[split] = read_sentences(paths[0], columns, may_lack_tags=split == TEST)
        elif split != TEST:
            raise ValueError(
                f"{data}: has no {split}.conll; write the {split} sentences there (also {', '.join(names)})"
            )
    return found


def read_sentences(path: Path, columns: TokensConfig, may_lack_tags: bool = False) -> list[Sentence]:
    """Return the sentences of a file.

    Columns are separated by tabs, or in a line without a tab by spaces. A line without a visible character ends a
    sentence.

    Args:
        path: the file.
        columns: which columns have the words and the tags.
        may_lack_tags: whether a file with no column but the words is read as one without tags.

    Raises:
        ValueError: the file has no sentences, no such column, a line with another number of columns than the first one,
            or a tag that is none of an entity; the message names file and line.
        OSError: it cannot be read.
    """
    sentences: list[Sentence] = []
    width = 0
    for numbers, rows in _blocks(path):
        for number, cells in zip(numbers, rows, strict=True):
            width = width or len(cells)
            if len(cells) != width:
                raise ValueError(f"{path}:{number}: has {len(cells)} columns, the first line has {width}; correct it")
        word, tag = _places(path, numbers[0], columns, width, may_lack_tags)
        words = [cells[word] for cells in rows]
        if "" in words:
            raise ValueError(f"{path}:{numbers[words.index('')]}: has no word; correct or remove the line")
        if words != [DOCUMENT]:
            tags = [] if tag is None else _tags(path, numbers, [cells[tag] for cells in rows])
            sentences.append(Sentence(path, numbers[0], words, tags))
    if not sentences:
        raise ValueError(f"{path}: has no sentences; write a word and its tag in each line")
    return sentences


def _blocks(path: Path) -> Iterator[tuple[list[int], list[list[str]]]]:
    """Yield the line numbers and the cells of the lines that follow each other without an empty line."""
    numbers: list[int] = []
    rows: list[list[str]] = []
    for number, line in numbered_lines(path):
        if line.strip():
            numbers.append(number)
            rows.append(_cells(line.rstrip("\r\n")))
        elif rows:
            yield numbers, rows
            numbers, rows = [], []
    if rows:
        yield numbers, rows


def _cells(line: str) -> list[str]:
    return line.split("\t") if "\t" in line else re.split(" +", line.strip(" "))


def _places(path: Path, line: int, columns: TokensConfig, width: int, may_lack_tags: bool) -> tuple[int, int | None]:
    """Return the columns of words and tags, counted from 0; None if there are no tags."""
    for name in ("word_column", "tag_column"):
        value = getattr(columns, name)
        if not -width <= value < width:
            raise ValueError(f"tokens.{name} = {value}: {path}:{line} has {width} columns; give one of them")
    word, tag = columns.word_column % width, columns.tag_column % width
    if word == tag and not may_lack_tags:
        raise ValueError(f"{path}:{line}: has no other column than that of the words; add the tags")
    return word, None if word == tag else tag


def _tags(path: Path, numbers: Sequence[int], tags: list[str]) -> list[str]:
    try:
        return to_iob2(tags)
    except ValueError:
        for number, tag in zip(numbers, tags, strict=True):
            try:
                to_iob2([tag])
            except ValueError as error:
                raise ValueError(f"{path}:{number}: {error}; correct it") from None
        raise
