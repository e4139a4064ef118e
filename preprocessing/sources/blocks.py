"""Blocks of lines, and what the width of lines tells about them."""

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

ROMAN = r"(?=[ivxl])(?:xc|xl|l?x{0,3})(?:ix|iv|v?i{0,3})"
"""A Roman number up to 99 in small letters, as a pattern."""
_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}
_IS_ROMAN = re.compile(r"C{0,3}(?:XC|XL|L?X{0,4})(?:IX|IV|V?I{0,4})")
_MIN_WIDTH = 58
_LONG = 150
_SENTENCE_END = re.compile(r"[.!?:;]['\"”’)\]_*]*$")


class Block(NamedTuple):
    """Lines between blank ones."""

    lines: list[str]
    gap: int
    """Blank lines before it."""


def blocks_of(lines: Iterable[str]) -> Iterator[Block]:
    """The runs of lines that are not blank."""
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
    """Whether a block is a paragraph: its lines are full, but for the last, or one line is longer than any list's."""
    lines = block.lines
    if len(lines) == 1:
        return len(lines[0]) > _LONG and bool(_SENTENCE_END.search(lines[0]))
    full = sum(len(line) + 1 + len(after.split(None, 1)[0]) > _MIN_WIDTH for line, after in pairwise(lines))
    return full * 2 > len(lines) - 1 or any(len(line) > _LONG for line in lines)


def key(line: str) -> str:
    """A line as headings and tables of contents have it in common: its letters and digits."""
    return "".join(filter(str.isalnum, line.casefold()))


def roman_value(number: str) -> int:
    """The value of a Roman number in capitals; 0 for other letters."""
    if not _IS_ROMAN.fullmatch(number):
        return 0
    values = [_VALUES[letter] for letter in number]
    return sum(-value if value < after else value for value, after in zip(values, [*values[1:], 0], strict=True))
