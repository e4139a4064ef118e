"""What a printed book has besides its text, found by its form: page numbers and running heads.

All rules are conservative: a line goes only if it has the form of such a thing and its place or its repetition in the
book says so too. What is missed stays as a short line of its own; it cannot join two sentences.
"""

import re
from collections import Counter

from preprocessing.sources.blocks import ROMAN

_NUMBER = rf"(?:\d{{1,4}}|{ROMAN})"
_MARKED_PAGE = re.compile(
    rf"[\[({{<–—-]+ ?(?:p\.?|pgs?\.?|pages?)? ?{_NUMBER} ?[\])}}>–—-]+|(?:p\.|pg\.?|page) ?{_NUMBER}", re.IGNORECASE
)
_BARE_PAGE = re.compile(_NUMBER)
_NUMBERED_HEAD = re.compile(
    r"(?P<left>\d{1,4})\s+(?P<after>\D{3,60})|(?P<before>\D{3,60}?)(?P<gap>\s+)(?P<right>\d{1,4})"
)
_HEAD = re.compile(r"[^\W\d_a-z].{0,58}[^\W_]")
_HEAD_REPEATS = 5
"""A running head stands on at least so many pages."""
_UNFINISHED, _CONTINUED = re.compile(r"[^\W\d_]$|[,;\u00ad-]$"), re.compile(r"[^\W\d_]")


def drop_page_furniture(lines: list[str]) -> list[str]:
    """The lines without page numbers and running heads; a paragraph that a page break cut is whole again."""
    filled = [index for index, line in enumerate(lines) if line]
    pages = _page_numbers(lines, filled)
    furniture = pages | _numbered_heads(lines, filled) | _heads_beside(lines, filled, pages)
    if not furniture:
        return lines
    kept: list[str] = []
    gap: list[int] = []  # Lines since the last kept one: blank, or furniture.
    for index, line in enumerate(lines):
        if not line or index in furniture:
            gap.append(index)
            continue
        kept += _bridge(lines, gap, furniture, kept[-1] if kept else "", line)
        kept.append(line)
        gap = []
    return kept


def _bridge(lines: list[str], gap: list[int], furniture: set[int], before: str, after: str) -> list[str]:
    """The blank lines that stand for a gap; none inside a paragraph."""
    blank = ["" for index in gap if not lines[index]]
    cut = len(blank) < len(gap) and _UNFINISHED.search(before) and _CONTINUED.match(after) and after[0].islower()
    return [] if cut else blank


def _page_numbers(lines: list[str], filled: list[int]) -> set[int]:
    """Lines that are a page number: marked as such, or bare and standing alone or next to one of its neighbours."""
    bare = [index for index in filled if _BARE_PAGE.fullmatch(lines[index])]
    values = [int(lines[index]) if lines[index].isdecimal() else None for index in bare]
    found = {index for index in filled if _MARKED_PAGE.fullmatch(lines[index])}
    for number, index in enumerate(bare):
        alone = not any(lines[max(0, index - 1) : index]) and not any(lines[index + 1 : index + 2])
        value, beside = values[number], [*values[max(0, number - 1) : number], *values[number + 1 : number + 2]]
        if alone or (value is not None and any(other in (value - 1, value + 1) for other in beside)):
            found.add(index)
    return found


def _numbered_heads(lines: list[str], filled: list[int]) -> set[int]:
    """Lines of a text and a page number whose text comes with many numbers: "THE HISTORY OF      45"."""
    numbers: dict[str, set[str]] = {}
    places: dict[str, list[int]] = {}
    for index in filled:
        head = _NUMBERED_HEAD.fullmatch(lines[index]) if len(lines[index]) < 70 else None
        # "Chapter 12" is a heading, "DRACULA     12" a running head.
        if head and (head["after"] or " " in head["before"].strip() or len(head["gap"]) >= 3):
            text = (head["after"] or head["before"]).strip()
            numbers.setdefault(text, set()).add(head["left"] or head["right"])
            places.setdefault(text, []).append(index)
    return {index for text, found in numbers.items() if len(found) >= _HEAD_REPEATS for index in places[text]}


def _heads_beside(lines: list[str], filled: list[int], pages: set[int]) -> set[int]:
    """Lines beside page numbers that are the same on many pages."""
    beside = [
        filled[neighbour]
        for position, index in enumerate(filled)
        if index in pages
        for neighbour in (position - 1, position + 1)
        if 0 <= neighbour < len(filled) and _HEAD.fullmatch(lines[filled[neighbour]])
    ]
    counts = Counter(lines[index] for index in beside)
    return {index for index in beside if counts[lines[index]] >= _HEAD_REPEATS}


def split_heading(block: list[str]) -> list[list[str]]:
    """A chapter heading that is not set off by a blank line, and the rest of its block."""
    return [block[:1], block[1:]] if len(block) > 1 and _HEADING.fullmatch(block[0]) else [block]


_HEADING = re.compile(
    r"(?:CHAPTER|Chapter|BOOK|Book|PART|Part|VOLUME|Volume|ACT|Act|SCENE|Scene|CANTO|Canto|LETTER|Letter|STAVE|Stave)"
    r" (?:[IVXLC]+|\d{1,3}|[A-Z]{3,}(?:[ -][A-Z]{3,})?)[.:]?"
)
