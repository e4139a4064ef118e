"""Blocks of lines of a book, and whether a block is prose, by the width of its lines."""

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

ROMAN = r"(?=[ivxl])(?:xc|xl|l?x{0,3})(?:ix|iv|v?i{0,3})"
"""Pattern of a Roman number up to 99 in small letters."""
_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}
_IS_ROMAN = re.compile(r"C{0,3}(?:XC|XL|L?X{0,4})(?:IX|IV|V?I{0,4})")
_MIN_WIDTH = 58
_LONG = 150
_SENTENCE_END = re.compile(r"[.!?:;]['\"”’)\]_*]*$")


class Block(NamedTuple):
    """Consecutive lines that are not blank."""

    lines: list[str]
    gap: int
    """Number of blank lines before the block."""


def blocks_of(lines: Iterable[str]) -> Iterator[Block]:
    """Yields the blocks of a text."""
    block: list[str] = []
    gap, before = 0, 0
    for line in lines:
        if line:
            if not block:
                before = gap
            block.append(line)
            gap = 0
        else:
            if block:
                yield Block(block, before)
                block = []
            gap += 1
    if block:
        yield Block(block, before)


def is_prose(block: Block) -> bool:
    """Whether a block is a paragraph: most lines but the last fill the width, or a line is longer than those of
    lists."""
    lines = block.lines
    if len(lines) == 1:
        return len(lines[0]) > _LONG and bool(_SENTENCE_END.search(lines[0]))
    full = sum(len(line) + 1 + len(after.split(None, 1)[0]) > _MIN_WIDTH for line, after in pairwise(lines))
    return full * 2 > len(lines) - 1 or any(len(line) > _LONG for line in lines)


def key(line: str) -> str:
    """The letters and digits of a line, by which headings are compared with entries of a table of contents."""
    return "".join(filter(str.isalnum, line.casefold()))


def roman_value(number: str) -> int:
    """The value of a Roman number in capitals; 0 for other letters."""
    if not _IS_ROMAN.fullmatch(number):
        return 0
    values = [_VALUES[letter] for letter in number]
    return sum(-value if value < after else value for value, after in zip(values, [*values[1:], 0], strict=True))
