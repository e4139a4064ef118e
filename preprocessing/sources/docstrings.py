"""English prose in docstrings that follow the conventions of Google, NumPy, Sphinx or Markdown.

Headings, examples, code, tables, formulas and the names and types of parameters are removed; descriptions of parameters
become sentences. What remains is judged sentence by sentence.
"""

import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

_FENCE = re.compile(r"(```|~~~)")
_RULE = re.compile(r"[-=~^*#+\"'`_.]{3,}(\s+[-=~^*#+\"'`_.]{3,})*")
_DIRECTIVE = re.compile(r"\.\.\s+([\w-]+)::\s*(.*)")
_PROSE_DIRECTIVES = {"note", "warning", "tip", "important", "caution", "attention", "hint", "admonition"}
_HEADING = re.compile(r"(#+\s.*|[A-Z][\w/]*( [\w/]+){0,2}::?)")
_CODE_HEADING = re.compile(r"(Examples?|Usage|Shapes?|Syntax|Outputs?|Inputs?)( [\w/]+){0,2}::?", re.IGNORECASE)
_BULLET = re.compile(r"([-*+•]|\d+[.)]|\(\d+\))\s+(.*)")
_FIELD = re.compile(r":(\w+)( [^:`]*)?:\s+(.*)")
_TYPED = re.compile(r"[\w.*`\\, /-]{1,60}?\s*\((?:[^()]|\([^()]*\))*\)`*\s*:\s+(.*)")
_UNTYPED = re.compile(r"`*\*{0,2}[A-Za-z_][\w.]*`*:\s+(.*)")
_NUMPY = re.compile(r"`*\*{0,2}[A-Za-z_][\w.*, `]*\s:(\s.*)?")
_TABLE = re.compile(r"[|+].*")

_ROLE = re.compile(r":[\w:.+-]+:`[.~!]*([^`<]*?)(\s*<[^>`]*>)?`")
_QUOTED = re.compile(r"`+[.~!]*([^`]*?)(\s*<[^>`]*>)?`+_{0,2}")
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_CITATION = re.compile(r"\s*\[[\w#.+ -]+\]_")
_EMPHASIS = re.compile(r"(?<!\w)\*{1,2}([^\s*](?:[^*]*[^\s*])?)\*{1,2}(?!\w)")
_SPACE_BEFORE_STOP = re.compile(r"\s+([.,])(?=\s|$)")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(])")

_FEWEST_WORDS = 5
_MOST_WORDS = 80
_LETTER_SHARE = 0.9
_FUNCTION_WORD_SHARE = 0.15
_IDENTIFIER_SHARE = 0.2
_FUNCTION_WORDS = """
    a about after all also an and any are as at be because been before but by can cannot do does each either else for
    from given had has have how if in instead into is it its may more most must no not of on one only or other our out
    over same should since so some such than that the their them then there these they this to two under until up use
    used uses using was we were what when where whether which while who will with within without would you your
"""
_FUNCTIONAL = frozenset(_FUNCTION_WORDS.split())
_IDENTIFIER = re.compile(r"(?<!\S)\w*(?:_\w|\w\.\w|[a-z][A-Z]|\d|\w\()")
_NO_LETTER = re.compile(r"[^A-Za-z\s]")
_NOT_PROSE = re.compile(r"[{}\\|<>=^$~@#*%&\[\]`…]|://|_\W|--|->|\w\(\w|\.\.|[^\x00-\x7f‘’“”–—]|\b(TODO|FIXME|XXX)\b")


def docstring_prose(text: str) -> list[str]:
    """The paragraphs of a docstring that read as English, without markup and line breaks."""
    paragraphs = (_plain(paragraph) for paragraph in _paragraphs(inspect.cleandoc(text).splitlines()))
    return [kept for paragraph in paragraphs if (kept := " ".join(_sentences(paragraph)))]


@dataclass
class _Reader:
    """State between the lines of a docstring."""

    lines: list[str] = field(default_factory=list)
    """Lines of the paragraph that is being read."""
    indent: int = 0
    """Indentation of its last line."""
    is_entry: bool = False
    """Whether the paragraph describes a parameter or is an item of a list."""
    entry_indent: int = -1
    """Indentation of the last entry; -1 outside lists of entries."""
    code_indent: int | None = None
    """Lines that are indented deeper than this are code; None: no line is."""
    in_fence: bool = False
    in_doctest: bool = False

    def take(self) -> Iterator[str]:
        """Ends the paragraph."""
        if self.lines:
            text = " ".join(self.lines)
            yield _sentence(text) if self.is_entry else text
        self.lines, self.is_entry = [], False

    def begin(self, text: str, indent: int) -> None:
        """Begins an entry."""
        self.lines, self.is_entry, self.indent, self.entry_indent = [text] * bool(text), True, indent, indent


def _paragraphs(lines: Iterable[str]) -> Iterator[str]:
    """The paragraphs and descriptions of entries, each in one line, with inline markup."""
    reader = _Reader()
    for line in lines:
        text = line.strip()
        indent = len(line.expandtabs()) - len(line.expandtabs().lstrip())
        if _is_code(reader, text, indent) or _RULE.fullmatch(text):
            if _RULE.fullmatch(text):  # The line above is a heading.
                reader.lines = reader.lines[:-1]
            yield from reader.take()
        elif not text:
            yield from reader.take()
        elif (entry := _entry(reader, text, indent)) is not None:
            yield from reader.take()
            reader.begin(entry, indent)
        else:
            yield from _continue(reader, text, indent)
    yield from reader.take()


def _is_code(reader: _Reader, text: str, indent: int) -> bool:
    """Whether a line is no prose, by what it is or by what stands above it."""
    if _FENCE.match(text) and not _RULE.fullmatch(text.replace("`", "")):
        reader.in_fence = not reader.in_fence
        return True
    if reader.in_fence:
        return True
    if not text:
        reader.in_doctest = False
        return False
    if reader.code_indent is not None and indent > reader.code_indent:
        return True
    reader.code_indent = None
    reader.in_doctest |= text.startswith((">>>", "$ ", "%", "In [", "@"))
    directive = _DIRECTIVE.fullmatch(text)
    if directive and directive[1] in _PROSE_DIRECTIVES:
        return not directive[2]
    if directive or text.startswith("..") or _CODE_HEADING.fullmatch(text):
        reader.code_indent = indent
        return True
    return reader.in_doctest or bool(_HEADING.fullmatch(text) or _TABLE.fullmatch(text))


def _entry(reader: _Reader, text: str, indent: int) -> str | None:
    """The first line of the description if a line begins an entry, otherwise None."""
    if directive := _DIRECTIVE.fullmatch(text):
        return directive[2]
    if bullet := _BULLET.fullmatch(text):
        rest = bullet[2]
        typed = _TYPED.fullmatch(rest) or _UNTYPED.fullmatch(rest)
        return typed[1] if typed else rest
    if named := _FIELD.fullmatch(text):
        return "" if named[1].endswith("type") else named[3]
    is_start = not reader.lines or indent <= reader.entry_indent
    if is_start and (typed := _TYPED.fullmatch(text) or _UNTYPED.fullmatch(text)):
        return typed[1]
    return "" if _NUMPY.fullmatch(text) and (is_start or indent < reader.indent) else None


def _continue(reader: _Reader, text: str, indent: int) -> Iterator[str]:
    """Adds a line to the paragraph, or begins the next one where the indentation changes."""
    if reader.lines and indent < reader.indent and not (reader.is_entry and indent > reader.entry_indent):
        yield from reader.take()
    elif len(reader.lines) == 1 and indent > reader.indent and not reader.is_entry:
        reader.lines = []  # A term, whose definition begins here.
        reader.begin("", indent - 1)
    if not reader.lines and not reader.is_entry and indent <= reader.entry_indent:
        reader.entry_indent = -1
    reader.indent = indent
    if text.endswith("::"):
        reader.code_indent = indent
        text = text[:-1]
    reader.lines.append(text)


def _sentence(text: str) -> str:
    """A description with a capital letter and a full stop."""
    text = text.strip()
    if text[:1].islower() and re.match(r"[a-z]+\b(?![_.(])", text):
        text = text[0].upper() + text[1:]
    return text if text.endswith((".", ":", "!", "?")) else f"{text.rstrip(',; ')}."


def _plain(text: str) -> str:
    """A paragraph without inline markup."""
    text = _LINK.sub(r"\1", _CITATION.sub("", text))
    text = _ROLE.sub(lambda role: role[1].rsplit(".", 1)[-1] if " " not in role[1] else role[1], text)
    text = _EMPHASIS.sub(r"\1", _QUOTED.sub(r"\1", text))
    return _SPACE_BEFORE_STOP.sub(r"\1", " ".join(text.split()))


def _sentences(paragraph: str) -> Iterator[str]:
    """The sentences of a paragraph that read as English."""
    return filter(_is_english, _SENTENCE_END.split(paragraph))


def _is_english(sentence: str) -> bool:
    """Whether a sentence is whole, has the words of English sentences, and few names of code."""
    words = sentence.split()
    if not _FEWEST_WORDS <= len(words) <= _MOST_WORDS or not sentence.endswith((".", "!", "?")):
        return False
    if not (sentence[0].isalpha() or sentence[0] in "\"'(") or sentence.count("(") != sentence.count(")"):
        return False
    letters = len(sentence) - len(_NO_LETTER.findall(sentence))
    if letters < _LETTER_SHARE * len(sentence) or _NOT_PROSE.search(sentence):
        return False
    functional = sum(word.strip(".,:;!?()\"'") in _FUNCTIONAL for word in sentence.lower().split())
    identifiers = len(_IDENTIFIER.findall(sentence))
    return functional >= _FUNCTION_WORD_SHARE * len(words) and identifiers <= _IDENTIFIER_SHARE * len(words)
