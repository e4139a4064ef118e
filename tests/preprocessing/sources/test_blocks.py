"""Laws of preprocessing/sources/blocks.py."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.sources.blocks import ROMAN, Block, blocks_of, is_prose, key, roman_value

WIDE = "A line of a paragraph that fills the width of a printed page, or nearly so,"


@given(st.lists(st.sampled_from(["", "a", "b"]), max_size=12))
def test_blocks_and_gaps_are_the_lines(lines):
    """Every line is in one block, and every blank line before the last block is in a gap."""
    blocks = list(blocks_of(lines))
    rebuilt = [line for block in blocks for line in [*[""] * block.gap, *block.lines]]
    assert rebuilt == lines[: len(rebuilt)] and not any(lines[len(rebuilt) :])
    assert all(block.gap for block in blocks[1:])


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([WIDE, WIDE, "and ends."], True),
        (["Chapter I", "Chapter II", "Chapter III"], False),
        (["Tiger, tiger,", "burning bright"], False),
        ([f"{WIDE} {WIDE} and ends."], True),
        ([f"{WIDE} {WIDE} without an end"], False),
        (["Short."], False),
    ],
)
def test_prose_is_told_by_the_width_of_its_lines(lines, expected):
    """Prose is recognised by the width of its lines; lists, verse and headings have short lines."""
    assert is_prose(Block(lines, 1)) is expected


def test_roman_numbers_have_their_values():
    """Each Roman number from 1 to 99 in small letters matches the pattern, and its value in capitals is right."""
    units, tens = (
        ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX"],
        ["X", "XX", "XXX", "XL", "L", "LX", "LXX", "LXXX", "XC"],
    )
    numbers = [ten + unit for ten in ("", *tens) for unit in ("", *units)][1:]
    assert [roman_value(number) for number in numbers] == list(range(1, 100))
    assert all(re.fullmatch(ROMAN, number.lower()) for number in numbers)
    assert roman_value("MIX") == roman_value("IIV") == 0


def test_headings_and_entries_have_the_same_key():
    """A heading and its entry in the table of contents have the same key, whatever their case,
    punctuation and spacing.
    """
    assert key("CHAPTER I.  The Storm") == key("Chapter I: the storm") != key("Chapter II: the storm")
