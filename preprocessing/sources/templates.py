"""The templates that hold words of the sentence they stand in; all others are boxes, notes and citations, and go.

Wikipedia's templates are programs that a dump does not run. For the few below, those most frequent inside sentences of
the English Wikipedia, the text can be told from the arguments: "The pass is {{convert|5|km}} long". Without them one
sentence in 26 has a hole (38,343 sentences of 2022). Other Wikipedias share many of the names.
"""

import re
from collections.abc import Callable

_ARGUMENT_NAME = re.compile(r"[\w -]+")
_NUMBER = re.compile(r"\s*[-+−]?[\d.,/⁄+]+\s*")
_TEXT_NAMES = {"1", "text", "quote"}
_RANGES = {"to": "to", "-": "to", "–": "to", "to(-)": "to", "and": "and", "or": "or", "by": "by", "x": "by"}
"""Words between the two numbers of {{convert}}."""
_UNITS = {"F": "°F", "C": "°C", "km2": "square kilometres", "sqkm": "square kilometres", "sqmi": "square miles"}
"""Units of {{convert}} that are not read as they are written."""


def _convert(arguments: list[str]) -> str:
    """{{convert|5|to|10|km|mi}} -> "5 to 10 km"."""
    words = []
    for argument in map(str.strip, arguments):
        words.append(_RANGES.get(argument) or _UNITS.get(argument, argument))
        if argument not in _RANGES and not _NUMBER.fullmatch(argument):
            break
    return " ".join(words)


def _argument(number: int, before: str = "", after: str = "") -> Callable[[list[str]], str]:
    """The argument of this number, from 0, or -1 for the last one, between two strings; nothing where it is missing."""

    def text(arguments: list[str]) -> str:
        chosen = arguments[number].strip() if -1 <= number < len(arguments) and arguments else ""
        return f"{before}{chosen}{after}" if chosen else ""

    return text


def _constant(text: str) -> Callable[[list[str]], str]:
    return lambda arguments: text


_FIRST = ["nowrap", "nobr", "nowraplinks", "small", "smaller", "big", "em", "strong", "abbr", "tooltip", "val", "angbr"]
_FIRST += ["nihongo", "ill", "interlanguage link", "sic", "not a typo", "visible anchor", "flag", "key press", "center"]
_FIRST += ["keypress", "linktext", "proper name", "no wrap", "mono", "underline", "lang-en"]
_BLOCKS = ["quote", "blockquote", "cquote", "bquote", "quotation", "poemquote", "verse translation"]

TEXT_TEMPLATES: dict[str, Callable[[list[str]], str]] = {
    **dict.fromkeys(_FIRST, _argument(0)),
    **dict.fromkeys(_BLOCKS, _argument(0, "\n\n", "\n\n")),
    **dict.fromkeys(["convert", "cvt"], _convert),
    **dict.fromkeys(["lang", "script"], _argument(1)),
    **dict.fromkeys(["transl", "transliteration"], _argument(-1)),
    **dict.fromkeys(["circa", "c."], _argument(0, "c. ")),
    **dict.fromkeys(["us$", "usd"], _argument(0, "US$")),
    **dict.fromkeys(["nbsp", "nbs", "space", "spaces", "thinsp", "pad"], _constant(" ")),
    **dict.fromkeys(["snd", "spnd", "spaced ndash", "sndash", "spaced en dash"], _constant(" – ")),
    **dict.fromkeys(["ndash", "endash", "en dash", "nsndns"], _constant("–")),
    **dict.fromkeys(["mdash", "emdash", "em dash"], _constant("—")),
    **dict.fromkeys(["as of", "asof"], _argument(0, "as of ")),
    "née": _argument(0, "née "),
    "uss": _argument(0, "USS "),
    "hms": _argument(0, "HMS "),
    "'": _constant("'"),
    "'s": _constant("'s"),
}
"""By name in lower case: a function of the arguments without a name."""


def template_text(content: str) -> str:
    """What a template of TEXT_TEMPLATES reads as, such as `lang|fr|mot juste` -> `mot juste`.

    Args:
        content: what stands between its braces, templates and links in it resolved.
    """
    name, *arguments = content.split("|")
    text = TEXT_TEMPLATES[template_name(name)](list(filter(None, map(_unnamed, arguments))))
    return text[:1].upper() + text[1:] if name.strip()[:1].isupper() else text


def template_name(name: str) -> str:
    """A template's name as TEXT_TEMPLATES has it."""
    return name.replace("_", " ").strip().lower()


def _unnamed(argument: str) -> str:
    """The text of an argument, empty if it has a name that does not say `text`."""
    name, equals, value = argument.partition("=")
    if equals and _ARGUMENT_NAME.fullmatch(name):
        return value if name.strip() in _TEXT_NAMES else ""
    return argument
