"""Removes tables of contents and lists of illustrations, found by their title and the form of the lines below it.

A table is removed only if it has a title and at least three entries. It ends before prose, before a block that repeats
one of its entries (the heading itself), and after its last entry. Blocks between entries that are no entries, such as
"PART II", are removed with them; blocks after the last entry stay.
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property

from preprocessing.sources.blocks import ROMAN, Block, is_prose, key, roman_value

_VOLUME = r"(?:vol(?:ume)?s?|parts?|books?|series)\b\W*\w{0,8}(?:\W+\w{1,12}){0,2}"
_PICTURES = (
    r"illustrations|plates|maps|engravings|portraits|figures|diagrams|photographs|drawings|plans|facsimiles|pictures"
)
_TITLE = re.compile(
    rf"\W*(?:(?:general )?(?:table of )?contents(?: and illustrations)?"
    rf"(?:,? (?:(?:of|to|for) (?:the )?(?:\w+ )?)?{_VOLUME})?"
    rf"|list of (?:\w[\w-]* ){{0,2}}(?:contents|cantos|chapters|stories|poems|tales|letters|tables|sections)"
    rf"|(?P<pictures>(?:list of (?:\w[\w-]* ){{0,2}}(?:{_PICTURES})|illustrations|plates|maps)(?: and (?:{_PICTURES}))?"
    rf"(?: by\b.{{3,40}}| ?[\[(].*)?)"
    rf"|(?P<head>(?:chap(?:ter|\.)?s?\s+|paragraph\s+)?pages?))\W*",
    re.IGNORECASE,
)
_KEYWORD = (
    r"(?:chapter|chap\.|book|part|volume|vol\.|act|scene|stave|canto|letter|section|sonnet|preface|introduction|"
    r"prologue|epilogue|prelude|finale|appendix|conclusion|foreword|afterword|dedication|notes|index|footnotes)"
)
_PAGE = rf"(?:\d{{1,4}}(?: ?[-–] ?\d{{1,4}})?|(?-i:{ROMAN}))"
_ENTRY = re.compile(
    rf"\W*(?:{_KEYWORD}\b.*|(?:[ivxlc]+|\d{{1,3}})(?:[.:)—-].*|\s{{2,}}.*)?|.*[.\s]{_PAGE})\W*", re.IGNORECASE
)
_COLUMN = re.compile(
    rf".*(?:\s{{2,}}|\.{{2,}}|\s\.\s*|,\s)(?:pages?\s)?{_PAGE}\W*|.*\bfrontispiece\b.*|.*\bfacing page\W*",
    re.IGNORECASE,
)
_COLUMNS = re.compile(r".*[^\s.!?:;\"'”’]\s{2,}\S.*")
_ONES = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
_NUMBER_WORDS = {word: number for number, word in enumerate(_ONES.split(), 1)}
_NUMBERED = re.compile(
    rf"\W*(?:(?P<kind>chapter|chap\.|book|part|act|scene|canto|letter|section)\s+)?"
    rf"(?P<number>(?-i:[IVXLC]+)|\d{{1,3}}|{'|'.join(_NUMBER_WORDS)})(?:[.:)\s—–-]|$)",
    re.IGNORECASE,
)
_DASH = re.compile(r"(?<![-—])(?:--|—)(?![-—])")
_MIN_ENTRIES = 3
_REPEATS = range(2, 7)
"""How often a heading occurs in a book whose table of contents lists it; more frequent lines are no headings."""
_MAX_WEAK = 3
"""Most consecutive blocks between entries that are no entries: "PART II", "Inferno", "PAGE"."""
_SECTION_GAP = 3
"""Blank lines between sections in books of Project Gutenberg."""
_MAX_LINES = 15
"""Most lines of an entry that summarises a chapter."""
_FRONT = 0.15
"""Leading share of the blocks in which a list of pictures is recognised by its title alone."""


def drop_contents(blocks: list[Block]) -> list[Block]:
    """The blocks without tables of contents and lists of illustrations."""
    if not any(_TITLE.fullmatch(block.lines[0]) for block in blocks):
        return blocks
    book = _Book(blocks)
    kept: list[Block] = []
    position = 0
    while position < len(blocks):
        stop = _Table(book, position).end() if _TITLE.fullmatch(blocks[position].lines[0]) else position
        if stop == position:
            kept.append(blocks[position])
            stop += 1
        position = stop
    return kept


@dataclass(frozen=True)
class _Book:
    """Statistics of a book, with which entries are compared."""

    blocks: list[Block]

    @cached_property
    def lines(self) -> Counter[str]:
        """Number of occurrences of each line, by `key`."""
        return Counter(key(line) for block in self.blocks for line in block.lines)

    @cached_property
    def heads(self) -> Counter[tuple[str, int]]:
        """Number of blocks that begin with each chapter number."""
        return Counter(number for block in self.blocks if (number := _number(block.lines[0])))

    @cached_property
    def has_gaps(self) -> bool:
        """Whether the number of blank lines distinguishes sections from paragraphs."""
        return any(block.gap >= _SECTION_GAP for block in self.blocks)


@dataclass
class _Table:
    """A table of contents that may start at a block."""

    book: _Book
    start: int
    entries: int = 0
    first: str = ""
    """`key` of the first line below the title."""
    seen: set[str] = field(default_factory=set)
    numbers: dict[str, int] = field(default_factory=dict)
    """Last number of each kind, such as chapter or part."""
    pictures: bool = False
    """Whether any short block is an entry, as in a list of pictures at the front of the book."""
    crossed: bool = False
    """Whether a section began after the last entry."""
    after_entry: bool = False
    """Whether the last block was an entry."""
    passed: int = 0
    """Lines of lists since the last entry."""

    def __post_init__(self) -> None:
        title = _TITLE.fullmatch(self.book.blocks[self.start].lines[0])
        self.pictures = bool(title and title["pictures"]) and self.start <= _FRONT * len(self.book.blocks)

    def end(self) -> int:
        """Index of the block after the table; `start` if there is no table."""
        blocks, stop, weak = self.book.blocks, self.start, 0
        for position in range(self.start, len(blocks)):
            block = blocks[position]
            if position == self.start:
                block = Block(block.lines[1:], 0)
                if not block.lines:
                    continue
            elif self._ends(block):
                break
            found = self._found(block)
            if not found and is_prose(block):
                break
            self._remember(block)
            weak = 0 if found else weak + 1
            self.passed += len(block.lines) if len(block.lines) >= _MIN_ENTRIES and not found else 0
            if weak > _MAX_WEAK:
                break
            if found:
                self.entries += found + self.passed
                self.passed, self.crossed = 0, False
                stop = position + 1
        while stop > self.start and _is_lone_heading(blocks[stop - 1]):
            stop -= 1
        return stop if self.entries >= _MIN_ENTRIES else self.start

    def _found(self, block: Block) -> int:
        """Number of entries that a block adds to the table.

        After a gap between sections, a heading that the table lists is no evidence: it may be the heading itself.
        """
        is_section = self.entries >= _MIN_ENTRIES and block.gap >= _SECTION_GAP
        found = self._entries(block, by_repetition=not is_section and not self.crossed)
        self.crossed = self.crossed or (is_section and not found)
        self.pictures = self.pictures and (not is_section or found > 0)
        if not found and self.after_entry and block.gap < _SECTION_GAP and _is_synopsis(block):
            found = 1
        is_list = not is_prose(block) and not any(line.endswith((",", ";")) for line in block.lines)
        if not found and self.pictures and is_list and not self._is_heading(block):
            found = len(block.lines)
        self.after_entry = found > 0
        return found

    def _ends(self, block: Block) -> bool:
        """Whether the table ends before a block: at another title, or at the first heading of the book."""
        line = block.lines[0]
        title = _TITLE.fullmatch(line)
        if title:
            return not title["head"]
        here = key(line)
        if not self.entries or not here:
            return False
        is_apart = block.gap > 1 or not self.book.has_gaps
        return self.first.startswith(here) or (here in self.seen and is_apart)

    def _is_heading(self, block: Block) -> bool:
        return (
            bool(_number(block.lines[0]))
            or re.fullmatch(rf"\W*{_KEYWORD}\W*", block.lines[0], re.IGNORECASE) is not None
        )

    def _remember(self, block: Block) -> None:
        for line in block.lines:
            if not _TITLE.fullmatch(line):
                self.first = self.first or key(line)
                self.seen.add(key(line))

    def _entries(self, block: Block, *, by_repetition: bool) -> int:
        """Number of entries in a block; 0 if it holds none."""
        lines = block.lines
        head = _number(lines[0])
        counted = [self._counts(line) for line in lines]
        strong = sum(
            number
            or bool(_ENTRY.fullmatch(line))
            or bool(_COLUMNS.fullmatch(line))
            or self._recurs(line, by_repetition)
            for line, number in zip(lines, counted, strict=True)
        )
        is_proven = not self.crossed or any(counted) or sum(map(bool, map(_COLUMN.fullmatch, lines))) * 2 >= len(lines)
        if is_proven and (strong * 2 >= len(lines) or sum(counted) >= _MIN_ENTRIES - 1):
            return strong
        repeated = head is not None and not self.crossed and self.book.heads[head] > 1
        if len(lines) <= _MAX_LINES and (_COLUMN.fullmatch(lines[-1]) or counted[0] or repeated):
            return 1
        return 0

    def _counts(self, line: str) -> bool:
        """Whether the number of a line is the successor of the last one of its kind."""
        number = _number(line)
        if number is None:
            return False
        kind, value = number
        follows = value > 1 and value == self.numbers.get(kind, 0) + 1
        if follows or value == 1:
            self.numbers[kind] = value
        return follows

    def _recurs(self, line: str, wanted: bool) -> bool:
        return wanted and self.book.lines[key(line)] in _REPEATS


def _is_lone_heading(block: Block) -> bool:
    """Whether the last block of a table is the heading of the next section: a separate line without a page number."""
    return len(block.lines) == 1 and block.gap >= _SECTION_GAP and not _COLUMN.fullmatch(block.lines[0])


def _is_synopsis(block: Block) -> bool:
    """Whether a block summarises a chapter: "The Storm--A Wreck--We are saved"."""
    text = " ".join(block.lines)
    dashes = len(_DASH.findall(text))
    return len(block.lines) <= _MAX_LINES and dashes >= 2 and dashes * 100 >= len(text)


def _number(line: str) -> tuple[str, int] | None:
    """Kind and value of the number at the start of a line, such as `("chapter", 4)`; None if there is none."""
    match = _NUMBERED.match(line)
    if not match:
        return None
    number = match["number"]
    value = int(number) if number.isdecimal() else _NUMBER_WORDS.get(number.lower()) or roman_value(number)
    return ((match["kind"] or "").lower().rstrip("."), value) if value else None
