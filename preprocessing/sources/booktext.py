"""Converts the text of a book to paragraphs, one per line, as `Document.text` holds them.

Blank lines separate blocks: paragraphs, headings, stanzas. The lines of a block are joined, also those of verse,
because sentences continue from line to line and BERT's tokenizer ignores line ends. A chapter heading is a paragraph of
its own. Removed are page numbers and running heads (sources/page_furniture.py), tables of contents
(sources/contents.py), numbers of verse lines (sources/verse.py), pictures and their captions, marks of notes and of
emphasis, and rules. Notes inside a sentence are moved behind the paragraph.

In the common form of BookCorpus each line is a sentence and blank lines are rare; there each line stays a paragraph.
BookCorpus as one file of many books without boundaries (`books_large_p1.txt`) is read by the source `text:`.
"""

import re
from collections.abc import Iterable, Iterator

from preprocessing.sources.blocks import blocks_of
from preprocessing.sources.contents import drop_contents
from preprocessing.sources.documents import NOT_UTF8
from preprocessing.sources.page_furniture import drop_page_furniture, split_heading
from preprocessing.sources.verse import drop_verse_numbers
from preprocessing.textfiles import decode_text

_LINE_ENDS = re.compile("\r\n|[\r\f\v\u2028\u2029\x85]")
_DECLARED = re.compile(
    rb"character set encoding:\s*(?:iso[ -]?8859-1|(?:iso )?latin-?1|(?:cp|windows-)1252)\s", re.IGNORECASE
)
_HEAD_BYTES = 20_000
"""First bytes of a file, in which Gutenberg's header declares the encoding."""

_BLANK_SHARE, _ENDED_SHARE = 0.1, 0.6
_CLOSERS, _SENTENCE_ENDS = "\"'”’)]`_* ", (".", "!", "?", "…", ":", ";")
_RULE = re.compile(r"[\s*_=~#·•–—.-]*[*_=~#·•–—-][\s*_=~#·•–—.-]*|\+[-=+]{2,}\+|/\*(?: \w+)?|\*/")
"""Rules, and block markers of Distributed Proofreaders that were not removed: `/* NIND`."""

_BRACKETED = (
    r"\[(?:Illustrations?|Picture|Frontispiece|Decoration|Image|Transcriber['’]?s?['’]? note)\b"
    r"(?:[^\[\]]|\[[^\[\]]{0,300}\]){0,1500}\]"
)
_PICTURE = re.compile(rf"^[ \t]*{_BRACKETED}[ \t]*\n|{_BRACKETED}", re.IGNORECASE | re.MULTILINE)
_LABEL = r"(?:(?:[IVXLC]{1,6}[a-z]?\.)?[\dA-Z*†‡§¶]{0,4}(?::[\dA-Z]{1,3})?|to line [^:\[\]]{1,60})"
_NOTE_START = re.compile(
    rf"\[(?:Foot|Side)?note ?(?:{_LABEL}:|(?-i:[IVXLC]{{1,6}}[a-z]?\.\d{{1,3}})\s)\s*", re.IGNORECASE
)
_NOTE = re.compile(rf"\s?\[(?:Foot|Side)?note ?{_LABEL}:\s*((?:[^\[\]]|\[[^\[\]]{{0,300}}\])*)(?:\]|$)", re.IGNORECASE)
_MAX_NOTE = 30
"""Largest number of paragraphs of a note."""
_FILE = re.compile(r"[\w-]+\.(?:jpe?g|png|gif)(?: ?\(\d+ ?[KM]B?\))?", re.IGNORECASE)
_BUTTON = re.compile(r"(?:Full|Original|Larger) (?:Size|Image)|Enlarge", re.IGNORECASE)
_MIN_BUTTONS = 3
"""Fewest lines such as "Enlarge" that are removed: HTML editions converted to text keep the buttons below pictures."""
_MARKS = re.compile(
    r"\s?\[(?:\^[^\]\s]{1,20}|\d{1,3}|[*†‡]{1,3}|(?-i:[IVXLC]{1,6}[a-z]?\.\d{1,3}|\d{1,4}:[\dA-Z]{1,3}))\]:?"  # Notes.
    r"|(?<=[^\s\[(])\[(?-i:[A-Z])\](?!\w)"
    r"|\s?(?:\[(?:pg|p\.|page) ?[\dxivlc]{1,5}\]|(?<!_)\{(?:pg|p\.|page)? ?[\dxivlc]{1,5}\})",  # Pages.
    re.IGNORECASE,
)
_EMPHASIS = re.compile(
    r"(?<!\w)_(?P<a>[^_\s](?:[^_]*[^_\s])?)_|_(?P<b>[^_\s](?:[^_]*[^_\s])?)_(?!\w)"
    r"|(?<![\w*])(?P<stars>\*{1,3})(?P<c>[^\s*](?:[^*]*[^\s*])?)(?P=stars)(?![\w*])"
    r"|(?<![\w=])=(?P<d>[^\s=](?:[^=]*[^\s=])?)=(?![\w=])"
)
_INLINE_TAG = re.compile(r"<(i|b|u|em|sc|tt|strong|small|big|sup|sub)>([^<>]*)</\1>", re.IGNORECASE)
_LONE_MARK = re.compile(r"(?<!\w)_(?!_)|(?<!_)_(?!\w)|(?<!\w)\*+|\*+(?!\w)")

_HYPHEN = "-\u2010\u00ad"
_LEFT, _RIGHT = re.compile(rf"([^\W\d_]+)[{_HYPHEN}]$"), re.compile(r"[^\W\d_]+")
_CUT = re.compile(rf"[^\W\d_][{_HYPHEN}] *\n")
_BROKEN_WORD = re.compile(rf"[^\W\d_]+[{_HYPHEN}] *\n\s*[^\W\d_]+")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")


class BadBookError(Exception):
    """A file from which no document can be made."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        """Kind of bad record, as in documents.py."""
        self.detail = detail
        """Description of the problem, for the report."""


def decode_book(data: bytes) -> str:
    """The text of a file in UTF-8, or in Latin-1 or cp1252 as Gutenberg's header declares; line ends are `\\n`.

    Raises:
        BadBookError: the file is neither.
    """
    try:
        text = decode_text(data)
    except UnicodeDecodeError as error:
        if not _DECLARED.search(data, 0, _HEAD_BYTES):
            detail = f"{error}; convert it, or add a line `Character set encoding: ISO-8859-1` to its head"
            raise BadBookError(NOT_UTF8, detail) from None
        text = _decode_western(data)
    return _LINE_ENDS.sub("\n", text)


def _decode_western(data: bytes) -> str:
    """The text of bytes declared as Latin-1, read as cp1252 if possible, since many such files are in fact cp1252."""
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a book's text, none of them empty, each without line ends."""
    lines = _without_captions([_without_rule(line.strip()) for line in _PICTURE.sub("", text).split("\n")])
    if is_sentence_per_line(lines):
        blocks = [[line] for line in lines if line]
    else:
        kept = drop_verse_numbers(drop_contents(list(blocks_of(drop_page_furniture(lines)))))
        blocks = [block.lines for block in kept]
    words = _words(text)
    joined = (_join(part, words) for block in blocks for part in split_heading(block))
    return [paragraph for block in _whole_notes(joined) for paragraph in _without_marks(block)]


def is_sentence_per_line(lines: list[str]) -> bool:
    """Whether each line is a sentence: few lines are blank and most end with the end of a sentence."""
    filled = [line for line in lines if line]
    ended = sum(line.rstrip(_CLOSERS).endswith(_SENTENCE_ENDS) for line in filled)
    return len(lines) - len(filled) < _BLANK_SHARE * len(lines) and ended >= _ENDED_SHARE * len(filled)


def _without_rule(line: str) -> str:
    return "" if len(line) > 1 and _RULE.fullmatch(line) else line


def _without_captions(lines: list[str]) -> list[str]:
    """The lines without names of picture files and without the buttons below pictures."""
    names = {line for line in lines if line[-1:].lower() in "gf)" and _FILE.fullmatch(line)}
    buttons = [line for line in lines if len(line) < 15 and _BUTTON.fullmatch(line)]
    if not names and len(buttons) < _MIN_BUTTONS:
        return lines
    dropped = {*names, *buttons}
    return ["" if line in dropped else line for line in lines]


def _whole_notes(paragraphs: Iterable[str]) -> Iterator[str]:
    """The paragraphs, without the brackets of notes that span several, and of notes whose catchword ends with a
    bracket.

    "[Footnote I.3: _The King._] The watch-word.]" is "_The King._ The watch-word."
    """
    left = 0
    for paragraph in paragraphs:
        start = _NOTE_START.match(paragraph)
        if start:
            body, depth = _without_unopened(paragraph[start.end() :])
            left = 0 if depth else _MAX_NOTE
            yield body
        elif left:
            body, depth = _without_unopened(paragraph)
            left = 0 if depth else left - 1
            yield body
        else:
            yield paragraph


def _without_unopened(text: str) -> tuple[str, int]:
    """The text without unmatched closing brackets, and the number of these."""
    kept: list[str] = []
    depth = unopened = 0
    for character in text:
        depth += character == "["
        if character == "]" and not depth:
            unopened += 1
            continue
        depth -= character == "]"
        kept.append(character)
    return "".join(kept), unopened


def _words(text: str) -> set[str]:
    """The words of a book in lower case, except those hyphenated at line ends; empty if there are none of these."""
    if not _CUT.search(text):
        return set()
    return set(_WORD.findall(_BROKEN_WORD.sub(" ", text).lower()))


def _join(lines: list[str], words: set[str]) -> str:
    """The lines joined to one, with words that were hyphenated at line ends made whole."""
    pieces = lines[:1]
    for line in lines[1:]:
        pieces[-1], space = _end_of_line(pieces[-1], line, words)
        pieces += [space, line]
    return "".join(pieces)


def _end_of_line(line: str, following: str, words: set[str]) -> tuple[str, str]:
    """A line as it continues on the following one, and the separator between the two.

    "exam-" and "ple" are one word if it occurs elsewhere in the book, or if "exam-ple" does not occur and not both
    parts are words; otherwise the hyphen stays.
    """
    left, right = line[-1] in _HYPHEN and _LEFT.search(line), _RIGHT.match(following)
    if not (left and right and left[1][-1].islower() and right[0][0].islower()):
        return line, " "
    first, second = left[1].lower(), right[0].lower()
    is_compound = f"{first}-{second}" in words or (first in words and second in words)
    if line.endswith("\u00ad") or first + second in words or not is_compound:
        return line[:-1], ""
    return line, ""


def _without_marks(paragraph: str) -> Iterator[str]:
    """The paragraph as plain text, followed by the notes that it contained; empty texts are dropped."""
    texts = [paragraph]
    if "[" in paragraph:
        texts = [_NOTE.sub("", paragraph), *(note[1] for note in _NOTE.finditer(paragraph))]
    for text in texts:
        plain = " ".join(_plain(text.replace("\u00ad", "")).split())
        if any(map(str.isalnum, plain)):
            yield plain


def _plain(text: str) -> str:
    """The text without marks of notes and emphasis. The tests avoid patterns that are slow where nothing matches."""
    if "[" in text or "{" in text:
        text = _MARKS.sub("", text)
    if "_" in text or "*" in text or "=" in text:
        text = _EMPHASIS.sub(lambda mark: mark["a"] or mark["b"] or mark["c"] or mark["d"], text)
        text = _LONE_MARK.sub("", text)
    if "<" in text:
        text = _INLINE_TAG.sub(r"\2", text)
    return text
