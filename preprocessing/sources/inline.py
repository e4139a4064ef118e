"""Wikitext that does not nest: apostrophes, external links, tags, magic words, entities; and protection of literal
text.

MediaWiki parses a page in passes and marks finished text, so that later passes leave it alone. This module does the
same: a character of finished text that a later pass could read as markup is replaced by a stand-in
(`protect`), and put back at the very end (`restore`). Stand-ins are lone surrogates, which valid text cannot hold.
"""

import html
import re
from functools import lru_cache
from html.entities import html5

_STAND_IN = 0xDC00
"""The stand-in of an ASCII character is the lone surrogate this far above it; 128 code points are reserved."""
SEPARATOR = chr(_STAND_IN)
"""Keeps apostrophes on both sides of an element from forming one run; `clean` removes it."""
_STAND_INS = re.compile(f"[{chr(_STAND_IN)}-{chr(_STAND_IN + 0x7F)}]")
_MARKUP = re.compile(r"['\[\]{}|<>&=]|_(?=_)|:(?=//)|\A[*#:;]+")
"""Characters that a pass reads as markup; list markers only where the text may begin a line."""
_SUSPECT = re.compile(r"['\[\]{}|<>&=_:*#;]")
"""First characters of `_MARKUP`: text without any, such as most link labels, needs no protection."""


def without_stand_ins(page: str) -> str:
    """The page with lone surrogates, which are no characters, replaced by U+FFFD."""
    return page if _is_valid(page) else _STAND_INS.sub("\N{REPLACEMENT CHARACTER}", page)


def protect(text: str) -> str:
    """The text with stand-ins for markup characters. Line ends are kept: a list inside it stays a list."""
    return _MARKUP.sub(lambda match: "".join(chr(_STAND_IN + ord(character)) for character in match[0]), text)


def restore(text: str) -> str:
    """The inverse of `protect`."""
    return text if _is_valid(text) else _STAND_INS.sub(lambda match: chr(ord(match[0]) - _STAND_IN), text)


def _is_valid(text: str) -> bool:
    """Whether the text has no lone surrogate; encoding it is ten times as fast as a search."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def literal(text: str) -> str:
    """Protected text that is not wikitext, such as the content of <nowiki>: only entities are resolved."""
    return protect(resolve_entities(text).replace("\n", " ")) if _SUSPECT.search(text) else text


def finished(text: str) -> str:
    """The text of a link or a template, cleaned and protected."""
    return protect(clean(text)) if _SUSPECT.search(text) else text


def clean(text: str) -> str:
    """Removes the markup that does not nest, and resolves entities."""
    text = _substitute(_VARIANT.sub(_variant_text, text), _LINKS)
    text = without_apostrophes(text).replace(SEPARATOR, "")
    return resolve_entities(_substitute(text, _TAGS))


def resolve_entities(text: str) -> str:
    """The text with the characters that its entities stand for, protected. Like MediaWiki, it requires the `;`."""
    return _ENTITY.sub(lambda match: _character(match[0]), text) if "&" in text else text


_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")


@lru_cache(maxsize=4096)
def _character(entity: str) -> str:
    character = html.unescape(entity) if entity[1] == "#" else html5.get(entity[1:])
    return entity if character is None else protect(character.replace("\n", " "))


_APOSTROPHES = re.compile(r"(''+)")


def without_apostrophes(text: str) -> str:
    """The text without the marks of bold and italics, by MediaWiki's rules, which hold for each line.

    Two apostrophes are italics, three are bold, five are both. Of four the first is text, of more than five all but
    the last five. In a line with an odd number of both, one bold mark is an apostrophe and italics.
    """
    if "''" not in text:
        return text
    return "\n".join(_line_without_apostrophes(line) if "''" in line else line for line in text.split("\n"))


def _line_without_apostrophes(line: str) -> str:
    parts = _APOSTROPHES.split(line)
    texts, lengths = parts[::2], [len(run) for run in parts[1::2]]
    for number, length in enumerate(lengths):
        lengths[number] = 3 if length == 4 else min(length, 5)
        texts[number] += "'" * (length - lengths[number])
    bold = [number for number, length in enumerate(lengths) if length == 3]
    num_both = lengths.count(5)
    if bold and (len(bold) + num_both) % 2 and (lengths.count(2) + num_both) % 2:
        texts[min(bold, key=lambda number: _rank_as_apostrophe(texts[number]))] += "'"
    return "".join(texts)


def _rank_as_apostrophe(before: str) -> int:
    """Rank of a bold mark after this text as an apostrophe with italics; the lowest rank is chosen.

    After a word of one letter 0, after a space 2, otherwise 1. MediaWiki counts bytes, so a letter outside ASCII is no
    word of one letter.
    """
    if before.endswith(" "):
        return 2
    return 0 if before[-2:-1] == " " and before[-1].isascii() else 1


_VARIANT = re.compile(r"-\{(?:([^{}|]*)\|)?([^{}]*)\}-")
_VARIANT_RULE = re.compile(r"\s*[a-z]{2,3}(?:-[a-z]+)*\s*:(.*)", re.S)


def _variant_text(match: re.Match[str]) -> str:
    """The text of a language variant: the first one given; empty if the markup only sets a title or a rule.

    Wikis with several scripts (Chinese, Serbian, ...) mark variants as `-{zh-hans:A; zh-hant:B}-`, `-{as it stands}-`.
    Source: https://www.mediawiki.org/wiki/Writing_systems/Syntax.
    """
    flags, content = match[1] or "", match[2]
    if flags.strip() in ("T", "H", "-"):
        return ""
    rule = _VARIANT_RULE.match(content.partition(";")[0])
    return rule[1].strip() if rule else content


_Substitution = tuple[str, re.Pattern[str], str]
"""(required substring, pattern, replacement)."""
_LINKS: list[_Substitution] = [
    (
        "[",
        re.compile(r"\[(?:(?:https?|ftps?|news|irc)://|//|mailto:)(?:[^\s\[\]<>']|'(?!'))*+[ \t]*+([^\[\]\n]*+)\]"),
        r"\1",
    ),
    ("://", re.compile(r"(?:https?|ftps?)://(?:[^\s<>|\[\]']|'(?!'))+"), ""),
]
"""External links and bare URLs; two apostrophes end a URL."""
_TAGS: list[_Substitution] = [
    ("<", re.compile(r"<br\b[^<>]*>", re.I), " "),
    ("<", re.compile(r"<sup>(?<=\d<sup>)(?=[-−–]?\d)", re.I), "^"),
    ("<", re.compile(r"</?[a-z][^<>]*>", re.I), ""),
    ("__", re.compile(r"__[^\W\d_]+(?:_[^\W\d_]+)*+__"), ""),
]
"""Line breaks, powers, all other tags, and magic words."""


def _substitute(text: str, substitutions: list[_Substitution]) -> str:
    for sign, pattern, replacement in substitutions:
        if sign in text:
            text = pattern.sub(replacement, text)
    return text
