"""{{convert}} of the English Wikipedia: the quantity as given, without its conversion.

Source: https://en.wikipedia.org/wiki/Template:Convert/doc. The text is empty if the arguments are not understood.
"""

import re

from preprocessing.sources.template_numbers import english_number
from preprocessing.sources.template_patterns import Arguments

_RANGES = {
    **dict.fromkeys(["to", "to(-)"], " to "),
    **dict.fromkeys(["-", "–"], "–"),
    **dict.fromkeys(["and", "and(-)", "&"], " and "),
    **dict.fromkeys(["by", "x", "by(x)"], " by "),
    **dict.fromkeys(["xx", "*", "×"], " × "),
    **dict.fromkeys(["+/-", "±", "&plusmn;", "+/−"], " ± "),
    "or": " or ",
    "to about": " to about ",
    "+": " + ",
    ",": ", ",
    ", and": ", and ",
    ", or": ", or ",
    "then": " then ",
}
"""Words between two numbers."""
_UNITS = {
    **dict.fromkeys(["F", "F-change", "F-diff"], "°F"),
    **dict.fromkeys(["C", "C-change", "C-diff"], "°C"),
    **dict.fromkeys(["K-change", "K"], "K"),
    **dict.fromkeys(["USgal", "usgal"], "US gal"),
    **dict.fromkeys(["lbft", "lb.ft", "lbf.ft", "lb-ft", "lb·ft"], "lb⋅ft"),
    **dict.fromkeys(["Nm", "N.m"], "N⋅m"),
    **dict.fromkeys(["kph", "km/h"], "km/h"),
    **dict.fromkeys(["oilbbl", "bbl"], "bbl"),
    "impgal": "imp gal",
    "L": "L",
    "LT": "long tons",
    "ST": "short tons",
    "nmi": "nautical miles",
    "kn": "knots",
    "PD/km2": "people per square kilometre",
    "PD/sqmi": "people per square mile",
    "ac-ft": "acre-feet",
    "cuft/s": "cubic feet per second",
    "m3/s": "cubic metres per second",
}
_SYMBOLS = {"nmi": "nmi", "kn": "kn", "cuft/s": "cu ft/s", "m3/s": "m3/s", "LT": "long tons", "ST": "short tons"}
"""Symbols of units that `abbr=on` selects."""
_POWERS = {"2": "square", "3": "cubic", "sq": "square", "cu": "cubic"}
_LENGTHS = {
    "km": "kilometres",
    "m": "metres",
    "cm": "centimetres",
    "mm": "millimetres",
    "mi": "miles",
    "ft": "feet",
    "in": "inches",
    "yd": "yards",
    "dm": "decimetres",
}
_POWER_UNIT = re.compile(
    r"(?P<per>/?)(?:(?P<length>km|cm|mm|dm|m|mi|ft|in|yd)(?P<power>[23])|(?P<word>sq|cu)(?P<imperial>km|m|mi|ft|in|yd))"
)
_PLURALS = {"foot": "feet", "inch": "inches"}
_PLURALS |= {unit: f"{unit}s" for unit in ("acre", "mile", "yard", "furlong", "league", "chain", "pound", "ounce")}
_PLURALS |= {unit: f"{unit}s" for unit in ("metre", "meter", "kilometre", "kilometer", "hectare", "litre", "liter")}
_PLURALS |= {unit: f"{unit}s" for unit in ("ton", "tonne", "gram", "kilogram", "gallon", "knot", "carat")}
_SCALES = {"e3": "thousand", "e6": "million", "e9": "billion", "e12": "trillion"}
_SCALED = re.compile(r"(e3|e6|e9|e12)(\D.*)", re.I)
_CHAINS = {("ft", "in"), ("lb", "oz"), ("st", "lb"), ("mi", "yd"), ("yd", "ft"), ("yd", "in"), ("mi", "ch")}
_CHAINS |= {("foot", "in"), ("mi", "furlong"), ("mi", "ft"), ("LT", "cwt"), ("cwt", "lb"), ("impgal", "imppt")}
"""Pairs of units of one quantity, such as 6 ft 2 in."""
_UNIT = re.compile(r"[^\W\d_/$°€£%][^|\n]*|[°/$€£%][^|\n]*")
_HIDDEN = {"number", "out", "output only", "output number only", "unit", "unit2", "unit or text", "preunit"}
"""Values of `disp` that show only the conversion or the unit."""


def convert(arguments: Arguments) -> str:
    """{{convert|6|ft|2|in|cm}} -> "6 ft 2 in", {{convert|5|to|10|km|mi}} -> "5 to 10 km"."""
    words = arguments.positional
    grouped = arguments.get("comma") not in ("off", "gaps")
    text = english_number(words[0], grouped) if words else ""
    if not text or arguments.get("disp") in _HIDDEN:
        return ""
    rest = words[1:]
    while len(rest) >= 2 and rest[0] in _RANGES and (number := english_number(rest[1], grouped)):
        text, rest = text + _RANGES[rest[0]] + number, rest[2:]
    if not rest or not _UNIT.fullmatch(rest[0]) or rest[0] in _RANGES:
        return ""
    last, rest = rest[0], rest[1:]
    is_short = arguments.get("abbr") in ("on", "in", "values", "~")
    text = _joined(text, _unit(last, text, is_short), arguments, words)
    while len(rest) >= 2 and (last, rest[1]) in _CHAINS and (number := english_number(rest[0])):
        last = rest[1]
        text, rest = f"{text} {number} {_unit(last, number, is_short)}", rest[2:]
    is_american = arguments.get("sp") == "us"
    return re.sub(r"(met|lit)re(?=s?\b)", r"\1er", text) if is_american else text


def _joined(number: str, unit: str, arguments: Arguments, words: list[str]) -> str:
    """A number with its unit, and the word that `adj=mid` or `adj=pre` puts after or before the unit."""
    word = words[-1] if re.fullmatch(r"[-\s]?[^\W\d_].*", words[-1]) else ""
    if arguments.get("adj") == "mid" and word.startswith("-"):
        return f"{number} {unit}{word}"
    if arguments.get("adj") == "pre" and word:
        return f"{number} {word} {unit}"
    return f"{number}{'' if unit.startswith('%') else ' '}{unit}"


def _unit(code: str, number: str, is_short: bool) -> str:
    """The text of a unit code."""
    if scaled := _SCALED.fullmatch(code):
        return f"{_SCALES[scaled[1].lower()]} {_unit(scaled[2], '2', is_short)}"
    if is_short and code in _SYMBOLS:
        return _SYMBOLS[code]
    if power := _POWER_UNIT.fullmatch(code):
        length = power["length"] or power["imperial"]
        if is_short:
            short = f"{length}{power['power']}" if power["power"] else f"{power['word']} {length}"
            return ("/" if power["per"] else "") + short
        name = f"{_POWERS[power['power'] or power['word']]} {_LENGTHS[length]}"
        return f"per {_singular(name)}" if power["per"] else name
    if code in _UNITS:
        return _UNITS[code]
    return _PLURALS.get(code, code) if number not in ("1", "−1") else code


def _singular(name: str) -> str:
    return name.replace("feet", "foot").replace("inches", "inch").removesuffix("s")
