"""Text of the templates that are part of a sentence; boxes, notes, citations and the like are removed.

Wikipedia's templates are programs, which a dump does not run. For those most frequent inside sentences the text follows
from the arguments: "The pass is {{convert|5|km}} long". The tables in `wikis/` define it, one per language and one for
all; `template_patterns` describes their patterns. To extend a language, add names to its table; no code is needed.

A template in no table is text only inside a sentence (`follows_words`, `precedes_words`), and only if it has a single
argument that is text. A name with a slash is a subtemplate or a table of figures, whose argument is a key.
"""

import re
import tomllib
from collections.abc import Iterator
from enum import Enum
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from preprocessing.sources import template_numbers as numbers
from preprocessing.sources.parser_functions import FUNCTIONS, VARIABLES, Context
from preprocessing.sources.template_convert import convert
from preprocessing.sources.template_numbers import NumberStyle
from preprocessing.sources.template_patterns import Filter, Reading, compile_pattern, read_arguments

TABLES = Path(__file__).parent / "wikis"
LOST = "\ud800"
"""Replaces an unreadable template inside another one; a lone surrogate, which valid text cannot contain."""


class Fate(Enum):
    """Treatment of a template."""

    TEXT = "text"
    GONE = "gone"
    """Removed: it shows nothing, or nothing that is part of a sentence."""
    UNKNOWN = "unknown"


class _Entry(NamedTuple):
    fate: Fate
    reading: Reading | None = None
    is_exact: bool = False
    """Whether the text is empty if an argument is lost."""
    wildcard: re.Pattern[str] | None = None
    """Pattern of the names, if the table gives the name with wildcards."""


_GONE, _UNKNOWN = _Entry(Fate.GONE), _Entry(Fate.UNKNOWN)
_READINGS: dict[str, Reading] = {
    "@convert": convert,
    "@val": numbers.val,
    "@as_of": numbers.as_of,
    "@fraction": numbers.fraction,
    "@percentage": numbers.percentage,
}
"""Readings that patterns cannot express."""
_WILDCARDS = {
    "*": "(.*)",
    "#": r"(\d+)",
    "@": "((?=[ivxlcdm])m*(?:c[md]|d?c{0,3})(?:x[cl]|l?x{0,3})(?:i[xv]|v?i{0,3}))",
    "~": "([a-z]{2,3}(?:-[a-z]+)*)",
}
_NUM_NAMES = 1 << 14
"""Number of names whose entries are cached."""
_MAX_LONE_ARGUMENT = 200
"""Longest argument of an unknown template that counts as text of the sentence, in characters."""
_NO_TEXT = re.compile(
    r"(?-i:[a-z]{2,3})(?:[-\d].*)?|.*(?:://|\.(?:jpe?g|png|svg|gif|og[agv]|wav|mp3)\b).*|[#.:*].*", re.S | re.I
)
"""Arguments that are a code, a URL or a file name."""


class Templates:
    """The templates of the Wikipedia in one language."""

    def __init__(self, language: str) -> None:
        functions = tomllib.loads((TABLES / "functions.toml").read_text(encoding="utf-8"))
        self.context = Context(language, _number_style(language, functions["numbers"]))
        self._functions = {name: english for english, names in functions["functions"].items() for name in names}
        self._functions |= {name: name for name in (*FUNCTIONS, *VARIABLES)}
        self._entries: dict[str, _Entry] = {}
        self._wildcards: list[_Entry] = []
        for table in _tables(language):
            self._add(table)
        self._wildcards.sort(key=lambda entry: entry.fate is not Fate.GONE)
        named = (f"(?P<w{i}>{entry.wildcard.pattern})" for i, entry in enumerate(self._wildcards) if entry.wildcard)
        self._any_wildcard = re.compile("|".join(named), re.I)
        self.fate = lru_cache(_NUM_NAMES)(self._fate_of)
        self._entry = lru_cache(_NUM_NAMES)(self._find)

    def _add(self, table: dict[str, Any]) -> None:
        """Adds the entries of a table that earlier tables do not have."""
        self._name(table.get("gone", []), _GONE)
        filters = _filters(table.get("maps", {}), self.context.style)
        for pattern, names in table.get("text", {}).items():
            reading = _READINGS[pattern] if pattern in _READINGS else compile_pattern(pattern, filters)
            is_exact = pattern in _READINGS or any(f":{name}" in pattern for name in ("number", "amount", "month"))
            self._name(names, _Entry(Fate.TEXT, reading, is_exact))

    def _name(self, names: list[str], entry: _Entry) -> None:
        for name in names:
            if any(sign in name for sign in _WILDCARDS):
                self._wildcards.append(entry._replace(wildcard=_wildcard(name)))
            else:
                self._entries.setdefault(name, entry)

    def _fate_of(self, name: str) -> Fate:
        """The treatment of a template, by its name as written after the braces."""
        return Fate.TEXT if self._function(name) else self._entry(template_name(name)).fate

    def text(self, content: str, title: str = "") -> str:
        """The text of a template, such as `lang|fr|mot juste` -> `mot juste`; empty if it is unknown.

        Args:
            content: the text between its braces, with templates and links in it resolved.
            title: title of the article.
        """
        name, *parts = content.split("|")
        if function := self._function(name):
            return "" if LOST in content else self._call(function, name, parts, title)
        entry = self._entry(template_name(name))
        if LOST in content:
            if entry.is_exact:
                return ""
            parts = [part.replace(LOST, "") for part in parts]
        if entry.fate is Fate.UNKNOWN:
            return "" if "/" in name else _lone_argument(parts)
        if not entry.reading:
            return ""
        match = entry.wildcard.fullmatch(_spaced(name)) if entry.wildcard else None
        return entry.reading(read_arguments(parts, match[1] if match else _spaced(name)))

    def _function(self, name: str) -> str:
        """The English name of the parser function or variable with this name; empty if it is none."""
        called, colon, _ = name.partition(":")
        found = self._functions.get(called.strip().lower(), "")
        return found if (found in FUNCTIONS and colon) or (found in VARIABLES and not colon) else ""

    def _call(self, function: str, name: str, parts: list[str], title: str) -> str:
        context = self.context._replace(title=title)
        if function in VARIABLES:
            return VARIABLES[function](context)
        return FUNCTIONS[function]([name.partition(":")[2], *parts], context)

    def _find(self, name: str) -> _Entry:
        if entry := self._entries.get(name):
            return entry
        match = self._any_wildcard.fullmatch(name)
        return self._wildcards[int(match.lastgroup[1:])] if match and match.lastgroup else _UNKNOWN


@cache
def templates_of(language: str) -> Templates:
    """The templates of the Wikipedia in a language such as `en` or `pt-br`; the common ones if it has no table."""
    return Templates(language.lower())


def _wildcard(name: str) -> re.Pattern[str]:
    """The pattern of a name with wildcards in a table."""
    signs = re.findall(r"\\?.", name)
    return re.compile("".join(_WILDCARDS.get(sign) or re.escape(sign[-1]) for sign in signs), re.I)


def template_name(name: str) -> str:
    """A template's name in the form of the tables."""
    return _spaced(name).lower()


def _spaced(name: str) -> str:
    return name.replace("_", " ").strip()


def _tables(language: str) -> Iterator[dict[str, Any]]:
    """The table of the language, or of its base language, then the common table."""
    for name in (language, language.partition("-")[0], "en" if language == "simple" else ""):
        if name and (TABLES / f"{name}.toml").is_file():
            yield tomllib.loads((TABLES / f"{name}.toml").read_text(encoding="utf-8"))
            break
    yield tomllib.loads((TABLES / "common.toml").read_text(encoding="utf-8"))


def _number_style(language: str, table: dict[str, Any]) -> NumberStyle:
    base = language.partition("-")[0]
    signs = next((style["signs"] for style in table["styles"] if base in style["languages"]), ",.")
    minimum = 5 if base in table["five_digits"] else 4
    return NumberStyle(signs[0], signs[1], minimum, table["digits"].get(base, ""), base in table["indian"])


def _filters(maps: dict[str, dict[str, str]], style: NumberStyle) -> dict[str, Filter]:
    """The filters of patterns: the built-in ones and the maps of a table."""

    def look_up(entries: dict[str, str]) -> Filter:
        return lambda text: entries.get(text, entries.get(text.lstrip("0").lower()))

    return {
        "number": lambda text: numbers.format_number(text, style),
        "amount": lambda text: numbers.format_amount(text, style),
        "roman": numbers.roman,
        "ordinal": numbers.ordinal,
        "upper": str.upper,
        "minus": lambda text: text.replace("-", "−"),
        "chemistry": numbers.chemical_formula,
        "date": lambda text: numbers.read_date(text, maps.get("month", {}), maps.get("first_day", {})),
        "digits": lambda text: text if text.isdecimal() else None,
        "starts_with_digit": lambda text: text if text[:1].isdecimal() else None,
        "hidden": lambda text: "",
        **{name: look_up(entries) for name, entries in maps.items()},
    }


def _lone_argument(parts: list[str]) -> str:
    """The argument of an unknown template, if it is the only one and reads as text or a number."""
    arguments = read_arguments(parts)
    text = arguments.get("1")
    is_lone = len(arguments.values) == 1 and 0 < len(text) <= _MAX_LONE_ARGUMENT and "\n" not in text
    return text if is_lone and re.search(r"[^\W_]", text) and not _NO_TEXT.fullmatch(text) else ""


_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005\u3040-\u30ff\u3400-\u9fff\uff21-\uff5a"
"""Letters of scripts that are written without spaces between words."""
_WORD = re.compile(r"[^\W_]")
_BEFORE = re.compile(rf"(?:[\s(\[„“«‹‘'\"–—/:（「『《、，：{_UNSPACED}-]|&nbsp;)\Z")
_AFTER = re.compile(r"[^\S\n]*(?![*#]|\[\[?(?:https?:|File:))[^\s]")
_REACH = 60


def follows_words(source: str, position: int) -> bool:
    """Whether words precede this position on its line, and another word may follow there.

    A template directly after a word or a full stop counts as a mark, such as a reference, not as a word.
    """
    line = source[max(0, position - _REACH) : position].rpartition("\n")[2]
    return bool(_WORD.search(line) and _BEFORE.search(line))


def precedes_words(source: str, position: int) -> bool:
    """Whether the line continues after this position with more than an image or a URL."""
    return bool(_AFTER.match(source, position, position + _REACH))
