"""Laws of preprocessing/sources/verse.py."""

import pytest

from preprocessing.sources.blocks import blocks_of
from preprocessing.sources.booktext import paragraphs
from preprocessing.sources.verse import drop_verse_numbers

WORDS = ["That stirs the deep", "And moves the sun", "Of all the night", "We saw them move", "The stars above"]


def verse(count, step, gap="      ", first=1, every=4):
    """Return lines of verse in stanzas, every `step`-th with its number."""
    lines = []
    for number in range(first, first + count):
        line = WORDS[number % len(WORDS)]
        lines.append(f"{line}{gap}{number}" if number % step == 0 else line)
        lines += [""] * (number % every == 0)
    return lines


def without_numbers(lines):
    """Return the lines of the blocks without their numbers."""
    return [line for block in drop_verse_numbers(list(blocks_of(lines))) for line in block.lines]


@pytest.mark.parametrize("step", [4, 5, 10, 20])
@pytest.mark.parametrize("gap", ["      ", " "])
def test_numbers_of_verse_lines_go(step, gap):
    """Numbers of any step and distance from the line are removed, and no word is."""
    lines = verse(100, step, gap)
    assert without_numbers(lines) == [line.split(gap + "1")[0].rstrip(" 0123456789") for line in lines if line]


def test_numbers_in_brackets_missing_ones_and_prose_between():
    """Numbers in brackets are removed, also with a missing number, a stage direction, or a line that two speakers
    share.
    """
    lines = verse(60, 5)
    lines[lines.index("That stirs the deep      30")] = "That stirs the deep"
    lines[20:20] = ["", "[_Enter a lord and many soldiers with torches._]", "", "A speech in prose", "of two lines", ""]
    assert not any(line[-1].isdigit() for line in without_numbers(lines))
    bracketed = [line.replace("      ", "  [") + "]" * ("      " in line) for line in verse(40, 5)]
    assert not any(line.endswith("]") for line in without_numbers(bracketed))


def test_a_short_poem_has_its_numbers_removed_where_the_book_numbers_verse():
    """Two numbers of a short poem are no series of their own, and are removed in a book that counts
    every fifth line.
    """
    lines = [*verse(60, 5), "", "A SONG", "", *verse(11, 5)]
    assert not any(line[-1].isdigit() for line in without_numbers(lines))
    assert sum(line[-1].isdigit() for line in without_numbers(verse(11, 5))) == 2


@pytest.mark.parametrize(
    "lines",
    [
        ["It was in the year 1805", "and again in the year 1810", "until the spring of 1815", "or of 1820, at noon."]
        * 3,
        ["Eggs      5", "Milk      10", "Bread      15", "Salt      20", "Tea      25"],
        ["Chapter 5", "", "Text of it.", "", "Chapter 10", "", "Text of it.", "", "Chapter 15"],
        ["He had but 5", "of them left.", "", "She had 40", "or more."],
        ["air (_a_), 575", "house, 580", "family, 585", "garden, 590"],
    ],
)
def test_other_numbers_stay(lines):
    """Years, tables, chapters, amounts and pages of an index are kept."""
    assert without_numbers(lines) == [line for line in lines if line]


def test_sentences_of_a_book_of_verse_have_no_numbers():
    """The text of a book of verse has no numbers, and the lines of a stanza are joined."""
    text = "\n".join(["A POEM", "", *verse(40, 5, every=40)])
    assert not any(character.isdigit() for paragraph in paragraphs(text) for character in paragraph)
