"""Removes what Project Gutenberg adds to a book: header, licence, credits and transcriber's notes.

Its files mark the start and the end of the book, in wordings that changed since the 1990s. The book is the text between
a start and an end. Other text is dropped only if the markers are consistent. The wordings are those of the files;
https://www.gutenberg.org/policy/license.html shows the present one.
"""

import re
from dataclasses import dataclass

_MAX_DROPPED = 60_000
"""Most characters dropped between markers: the present licence has 19,000, the small print of the 1990s 15,000."""
_MAX_CREDITS = 8
_MAX_NOTES = 30_000
_MAX_NOTES_SHARE = 0.1
"""Transcriber's notes at the end are searched for in the last `_MAX_NOTES` characters, or this share of the book."""

_STARS = r"^[ \t]*\*{2,3} ?"
_TITLE = r"(?:(?:[^*\n]|\n(?!\s*\n)){0,300}\*{3}|.*)"  # May be wrapped; without closing stars it ends with the line.
_MARKERS = re.compile(
    rf"(?P<start>{_STARS}START OF TH(?:E|IS) PROJECT GUTENBERG{_TITLE})"
    rf"|(?P<end>{_STARS}END OF TH(?:E|IS) PROJECT GUTENBERG{_TITLE}"
    r"|^[ \t*]*(?:The )?End of (?:the |this )?Project Gutenberg\b.*"
    rf"|{_STARS}START: FULL LICEN[SC]E.*)"
    r"|(?P<print_start>^[ \t]*\*+ ?START ?\** ?THE SMALL PRINT.*)"
    r"|(?P<print_end>^[ \t]*\*+ ?END ?\** ?(?:OF )?THE SMALL PRINT.*)",
    re.IGNORECASE | re.MULTILINE,
)
_CREDIT = re.compile(
    r"\s*^[ \t]*[\[(]?(?:"
    r"(?:(?:E-?text|This (?:e-?text|e-?book|file) was)\s)?(?:produced|prepared|transcribed|scanned|proofed) (?:by|from)"
    r"|HTML version by\b|Note: (?:Project Gutenberg|Images of)|https?://"
    r"|Images of the original pages are available|or\s*\n"
    r")(?:.*\S.*(?:\n|\Z)){1,15}?(?=\s*(?:\n|\Z))",
    re.IGNORECASE | re.MULTILINE,
)
_NOTE_NAME = r"(?:original |e-?text )?transcri(?:ber|ption)['’]?s?['’]? ?(?:end)?(?:notes?|corrections?|amendments?)\b"
_NOTES = re.compile(rf"^\W*(?:{_NOTE_NAME}|Typographical errors corrected\b.{{0,60}}$)", re.IGNORECASE | re.MULTILINE)
_NOTES_ALONE = re.compile(rf"(?<=\n\n)[^\w\n]*{_NOTE_NAME}[^\w\n]*$", re.IGNORECASE | re.MULTILINE)
"""Start of notes in text without markers: only a heading on a line of its own, as the words may be the author's."""
_FRONT_NOTE = re.compile(
    r"(?:\A\s*|\n[ \t]*\n)[ \t]*(?:\+[-=+ ]*\n[ \t]*)?(?P<mark>[\[|]?)[^\w\n]*"
    rf"{_NOTE_NAME}(?P<rest>.*)",
    re.IGNORECASE,
)
_BOX = re.compile(r"(?:\n[ \t]*[|+].*)+")
_SECTION = re.compile(r"(?<=\S)[ \t]*(?:\n[ \t]*){4,}(?=\S|\Z)|\Z")
"""Gap between sections in Project Gutenberg's files: three blank lines or more."""
_PARAGRAPH = re.compile(r"\n[ \t]*\n|\Z")
_MAX_FRONT_NOTE = 4_000
_FRONT, _FRONT_SHARE = 5_000, 0.1
"""Notes before the text are searched for in the first `_FRONT` characters of a book, or this share of it."""
_OURS = re.compile(rf"[^\w*]*(?:{_NOTE_NAME}|Note: Project Gutenberg also has)", re.IGNORECASE)


@dataclass(frozen=True)
class _Mark:
    """A start or end marker at [start, stop) of the text."""

    start: int
    stop: int
    opens: bool
    small_print: bool


def strip_boilerplate(text: str) -> str | None:
    """The book in a file of Project Gutenberg; other text unchanged.

    Returns:
        The text without header, licence, credits and transcriber's notes; the text itself if it has no markers; None if
        the markers contradict each other, such as an end before the start.
    """
    marks = _find_marks(text)
    if not marks:
        before = _without_front_notes(_without_credits(text)) if _OURS.match(text) else text
        return _without_notes(before, _NOTES_ALONE)
    pieces = _between(text, marks)
    if pieces is None or not "".join(pieces).strip():
        return None
    return "\n\n".join(_without_notes(_without_front_notes(_without_credits(piece))) for piece in pieces)


def _find_marks(text: str) -> list[_Mark]:
    """The markers in order; the small print starts the book below it, or ends the one above if nothing is below."""
    found = list(_MARKERS.finditer(text))
    closes = [match.lastgroup == "end" for match in found]
    if [match.lastgroup for match in found[-2:]] == ["print_start", "print_end"] and not text[
        found[-1].end() :
    ].strip():
        found.pop()
        closes[-2:] = [True]
    return [
        _Mark(match.start(), match.end(), not closing, str(match.lastgroup).startswith("print"))
        for match, closing in zip(found, closes, strict=True)
        if closing or match.lastgroup != "print_start"
    ]


def _between(text: str, marks: list[_Mark]) -> list[str] | None:
    """The pieces of text that are the book; None if the markers contradict each other."""
    has_start = any(mark.opens for mark in marks)
    if has_start and not marks[0].opens:
        return None
    kept = []
    before = None if has_start else _Mark(0, 0, opens=True, small_print=False)
    for after in [*marks, None]:
        piece = text[before.stop if before else 0 : after.start if after else len(text)]
        opened = before is not None and before.opens
        if opened and not (after and after.opens):
            kept.append(piece)
        elif len(piece) > _MAX_DROPPED or (opened and before and after and not before.small_print | after.small_print):
            return None
        before = after
    return kept


def _without_credits(text: str) -> str:
    """The text without the leading paragraphs on who made the file, and the notes among them."""
    position = 0
    for _ in range(_MAX_CREDITS):
        credit = _CREDIT.match(text, position)
        if not credit:
            break
        position = credit.end()
    return text[position:]


def _without_front_notes(text: str) -> str:
    """The text without leading transcriber's notes: in brackets, in a box, or below a heading up to the next gap."""
    stop = max(_FRONT, int(len(text) * _FRONT_SHARE))
    pieces, position = [], 0
    while note := _FRONT_NOTE.search(text, position, stop):
        pieces.append(text[position : note.start()])
        position = _note_end(text, note)
    return "".join([*pieces, "\n\n" * bool(pieces), text[position:]])


def _note_end(text: str, note: re.Match[str]) -> int:
    """The end of a transcriber's note: its closing bracket, box or section, otherwise its first paragraph."""
    if note["mark"] == "[":
        depth = 0
        for bracket in re.finditer(r"[\[\]]", text[note.start() : note.start() + 3 * _MAX_FRONT_NOTE]):
            depth += 1 if bracket[0] == "[" else -1
            if not depth:
                return note.start() + bracket.end()
    elif note["mark"] == "|":
        box = _BOX.match(text, note.end())
        return box.end() if box else note.end()
    is_heading = re.fullmatch(r"\W*|.*:\W*", note["rest"])  # The note follows, however far below.
    begin = len(text) - len(text[note.end() :].lstrip()) if is_heading else note.end()
    section = _SECTION.search(text, begin)
    if section and section.start() - note.start() <= _MAX_FRONT_NOTE:
        return section.start()
    paragraph = _PARAGRAPH.search(text, begin)
    return paragraph.start() if paragraph else len(text)


def _without_notes(text: str, name: re.Pattern[str] = _NOTES) -> str:
    """The text without the transcriber's notes at the end (lists of corrected misprints), which a line like `name`
    starts."""
    start = max(len(text) - _MAX_NOTES, int(len(text) * (1 - _MAX_NOTES_SHARE)))
    notes = name.search(text, start)
    return text[: notes.start()] if notes else text
