"""Removes the page furniture of printed books: page numbers and running heads.

The rules are conservative: a line is removed only if its form and also its position or its repetition in the book are
those of page furniture. A missed one stays as a short line of its own and cannot join two sentences.
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
"""Fewest pages that a running head is on."""
_UNFINISHED, _CONTINUED = re.compile(r"[^\W\d_]$|[,;\u00ad-]$"), re.compile(r"[^\W\d_]")


def drop_page_furniture(lines: list[str]) -> list[str]:
    """The lines without page numbers and running heads; paragraphs cut by a page break are made whole."""
    filled = [index for index, line in enumerate(lines) if line]
    pages = _page_numbers(lines, filled)
    furniture = pages | _numbered_heads(lines, filled) | _heads_beside(lines, filled, pages)
    if not furniture:
        return lines
    kept: list[str] = []
    gap: list[int] = []  # Lines since the last kept one: blank or furniture.
    for index, line in enumerate(lines):
        if not line or index in furniture:
            gap.append(index)
            continue
        kept += _bridge(lines, gap, furniture, kept[-1] if kept else "", line)
        kept.append(line)
        gap = []
    return kept


def _bridge(lines: list[str], gap: list[int], furniture: set[int], before: str, after: str) -> list[str]:
    """The blank lines that replace a gap; none if the gap is inside a paragraph."""
    blank = ["" for index in gap if not lines[index]]
    cut = len(blank) < len(gap) and _UNFINISHED.search(before) and _CONTINUED.match(after) and after[0].islower()
    return [] if cut else blank


def _page_numbers(lines: list[str], filled: list[int]) -> set[int]:
    """Indices of page numbers: marked as such, or bare and either isolated or consecutive to a neighbouring number."""
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
    """Indices of running heads with a page number, whose text occurs with many numbers: "THE HISTORY OF      45"."""
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
    """Indices of lines next to page numbers that are the same on many pages."""
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
    """A block in two if its first line is a chapter heading without a blank line below, otherwise as it is."""
    return [block[:1], block[1:]] if len(block) > 1 and _HEADING.fullmatch(block[0]) else [block]


_HEADING = re.compile(
    r"(?:CHAPTER|Chapter|BOOK|Book|PART|Part|VOLUME|Volume|ACT|Act|SCENE|Scene|CANTO|Canto|LETTER|Letter|STAVE|Stave)"
    r" (?:[IVXLC]+|\d{1,3}|[A-Z]{3,}(?:[ -][A-Z]{3,})?)[.:]?"
)
