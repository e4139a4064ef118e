"""Wikitext without templates, links and tags to paragraphs, headings and list items, one per line.

Punctuation that removed templates leave behind is tidied up.
"""

import re
from collections.abc import Iterator

_BOLD_LINE = re.compile(r"\n'''([^'\n]+)'''[ \t]*(?=\n|\Z)")
"""A bold line, which serves as a heading."""
_TIDYING = [
    *[
        (re.compile(r"([(（])[ ,;:、]+"), r"\1"),
        (re.compile(r"[ ,;:、](?<![ ,;:、]{2})[ ,;:、]*+([)）])"), r"\1"),
        (re.compile(r"[(（][)）] ?|<>"), ""),
    ]
    * 2,
    (re.compile(r"([,;])(?: ?[,;])+"), r"\1"),
    (re.compile(r" +([,.;])(?=\s|\Z)"), r"\1"),
    (re.compile(r"\A[,;:] "), ""),
]
"""Leftovers of removed templates: in parentheses, up to two deep, around commas, and at the start of a line."""
_UNTIDY = re.compile(
    r"[(（ ,;:、<](?:(?<=[(（])[ ,;:、)）]|(?<=[ ,;:、])[)）]|(?<=<)>|(?<=[,;]) ?[,;]|(?<= )[,.;](?=\s|\Z)"
    r"|(?<=\A[,;:]) )"
)
"""Place where one of `_TIDYING` applies; most lines need none."""


_WORD = re.compile(r"[^\W_]")
_RULE = "----"
_TERM_LEVEL = 7
"""Level of a term (`;` or a bold line): a heading below the six levels of headings."""


def mark_bold_lines(text: str) -> str:
    """The text with each line in bold turned into a term (`;`), which serves as a heading."""
    return _BOLD_LINE.sub(r"\n;\1", text)


def paragraphs(text: str) -> list[str]:
    """Paragraphs, list items and headings, without empty sections and lines without a word."""
    blocks = [*_blocks(text)]
    kept: list[tuple[int, str]] = []
    for level, block in reversed(blocks):
        line = _tidy(" ".join(block.split()))
        is_empty_section = level and (not kept or 0 < kept[-1][0] <= level)
        if not is_empty_section and _WORD.search(line):
            kept.append((level, line))
    return [line for _, line in reversed(kept)]


def _tidy(line: str) -> str:
    if _UNTIDY.search(line):
        for pattern, replacement in _TIDYING:
            line = pattern.sub(replacement, line)
    return line


def _blocks(text: str) -> Iterator[tuple[int, str]]:
    """Heading level (0 for other text) and text of each paragraph, list item and heading."""
    paragraph: list[str] = []
    for line in (*text.split("\n"), ""):
        line = line.strip()
        if line[:1] == "|" or (line[:1] == "!" and ("|" in line or "!!" in line[1:].lstrip("!"))):
            line = ""  # A cell of a table that a template opened.
        if line and line[0] not in "*#:;=" and not line.startswith(_RULE):
            paragraph.append(line)
            continue
        if paragraph:
            yield 0, " ".join(paragraph)
            paragraph = []
        if line[:1] == "=" == line[-1:]:
            yield len(line) - len(line.lstrip("=")), line.strip("= ")
        elif line:
            yield _TERM_LEVEL if line[0] == ";" else 0, _without_markers(line)


def _without_markers(line: str) -> str:
    """A list item or the text after a rule, without markers; a hyphen is a marker unless a digit follows it."""
    text = line.lstrip("*#:;")
    return text if text[:1] == "-" and text[1:2].isdecimal() else text.lstrip("-")
