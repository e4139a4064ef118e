"""Removes line numbers of printed verse, at the end of every fourth, fifth or tenth line.

A number is removed only as part of a series: each is larger than the one before by a fixed step, and about as many
lines lie between them. Any other number at the end of a line belongs to the text.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from preprocessing.sources.blocks import Block

_NUMBERED_LINE = re.compile(r"(?P<text>.*\S)(?P<gap>\s+)(?P<open>[\[(])?(?P<number>[1-9]\d{0,4})(?(open)[\])])")
_COLUMN_GAP = 2
"""Fewest spaces before a number in a column of its own."""
_STEPS = (4, 5, 8, 10, 20, 25, 50, 100)
_YEARS = range(1000, 2100)
_MIN_SERIES = 3
_MIN_COMMON = 10
"""Fewest numbers in series of a step that make it the step of the book, so that short poems lose their numbers too."""


class _Number(NamedTuple):
    """A number at the end of a line."""

    block: int
    line: int
    place: int
    """Number of lines of the book before this one."""
    value: int
    in_column: bool


def drop_verse_numbers(blocks: list[Block]) -> list[Block]:
    """The blocks without the numbers of verse lines."""
    found = list(_numbers(blocks))
    if len(found) < _MIN_SERIES:
        return blocks
    dropped = _in_series(found)
    if not dropped:
        return blocks
    changed = {number.block: list(blocks[number.block].lines) for number in dropped}
    for number in dropped:
        line = _NUMBERED_LINE.fullmatch(changed[number.block][number.line])
        assert line is not None, "it was found by this pattern"
        changed[number.block][number.line] = line["text"]
    return [Block(changed[place], block.gap) if place in changed else block for place, block in enumerate(blocks)]


def _numbers(blocks: list[Block]) -> Iterator[_Number]:
    place = 0
    for number, block in enumerate(blocks):
        for index, line in enumerate(block.lines):
            if line[-1].isdigit() or line[-1] in "])":
                match = _NUMBERED_LINE.fullmatch(line)
                if match:
                    value, in_column = int(match["number"]), len(match["gap"]) >= _COLUMN_GAP
                    is_reference = match["text"].endswith(",") or value in _YEARS
                    if in_column or not is_reference:
                        yield _Number(number, index, place, value, in_column)
            place += 1


def _in_series(found: list[_Number]) -> list[_Number]:
    """The numbers that belong to a series, and numbers in a column that fit a common step of the book."""
    series: dict[_Number, int] = {}
    for step in _STEPS:
        for run in _runs([number for number in found if number.value % step == 0], step):
            if len(run) >= _MIN_SERIES:
                series |= {number: step for number in run if number not in series}
    common = {step for step, count in Counter(series.values()).items() if count >= _MIN_COMMON}
    return [
        number
        for number in found
        if number in series
        or (number.in_column and number.value not in _YEARS and any(number.value % step == 0 for step in common))
    ]


def _runs(found: list[_Number], step: int) -> Iterator[list[_Number]]:
    """Runs of numbers that rise by the step, with about as many lines between them."""
    run: list[_Number] = []
    for number in found:
        if run and not _follows(run[-1], number, step):
            yield run
            run = []
        run.append(number)
    if run:
        yield run


def _follows(before: _Number, after: _Number, step: int) -> bool:
    """Whether a number is the next in a series, or the one after it if one is missing."""
    lines, rise = after.place - before.place, after.value - before.value
    return rise in (step, 2 * step) and 0.6 * rise <= lines <= 2 * rise + 6
