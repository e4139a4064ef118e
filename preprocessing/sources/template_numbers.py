"""Formatting of numbers in each language, and English templates of quantities: {{val}}, {{frac}}, {{as of}} and others.

The text is empty if the arguments are not understood: a wrong number is worse than a missing one.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from preprocessing.sources.template_patterns import Arguments

_PLAIN = re.compile(r"([-−+]?)(\d+)(?:\.(\d+))?")
_AMOUNT = re.compile(r"([-−+]?)(\d(?:[\d \xa0]*\d)?)(?:[.,](\d+))?(?![.,]\d)([ \xa0]*)([^\d\s].*)?", re.S)
_COMMAS = re.compile(r"[-+−]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?")
_POWER = re.compile(r"([-+−]?[\d.,]+)[eE]([-+−]?\d+)")
_FRACTION = re.compile(r"([-+−]?)(?:(\d+)(?:[+\s]|&nbsp;)\s*)?(\d+)\s*(?://?|⁄)\s*(\d+)")


class NumberStyle(NamedTuple):
    """Number format of a language."""

    group: str = ","
    decimal: str = "."
    minimum: int = 4
    """Fewest digits of a number with group separators."""
    digits: str = ""
    """The ten digits, if they are not 0 to 9; empty otherwise."""
    indian: bool = False
    """Whether digits before the last three are grouped in twos."""


def format_number(text: str, style: NumberStyle, grouped: bool = True) -> str | None:
    """A number such as `1234567.89` in a language's format; None if the text is no such number."""
    match = _PLAIN.fullmatch(text.strip())
    if not match:
        return None
    sign, whole, part = match.groups()
    if grouped and len(whole) >= style.minimum:
        width = 2 if style.indian else 3
        head, groups = whole[:-3], [whole[-3:]]
        while head:
            head, groups = head[:-width], [head[-width:], *groups]
        whole = style.group.join(groups)
    shown = sign.replace("-", "−") + whole + (style.decimal + part if part else "")
    return shown.translate(str.maketrans("0123456789", style.digits)) if style.digits else shown


def parse_number(text: str, style: NumberStyle) -> str:
    """The inverse of `format_number`, as in {{formatnum:...|R}}."""
    plain = text.translate(str.maketrans(style.digits, "0123456789")) if style.digits else text
    return re.sub(r"[\s\xa0]", "", plain.replace(style.group, "").replace(style.decimal, ".")).replace("−", "-")


def format_amount(text: str, style: NumberStyle) -> str | None:
    """A number with any decimal sign and an optional unit: `24000 ports` -> `24 000 ports` in French; None if it is
    none."""
    match = _AMOUNT.fullmatch(text.strip())
    if not match:
        return None
    sign, whole, part, space, unit = match.groups(default="")
    plain = sign + re.sub(r"[ \xa0]", "", whole) + (f".{part}" if part else "")
    return f"{format_number(plain, style)}{' ' if space else ''}{unit}"


def roman(text: str) -> str | None:
    """The Roman numeral of a number from 1 to 3999; None for other text."""
    if not text.isdecimal() or not 0 < int(text) < 4000:
        return None
    number, digits = int(text), ""
    for value, digit in zip(
        (1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1),
        ("M", "CM", "D", "CD", "C", "XC", "L", "XL", "X", "IX", "V", "IV", "I"),
        strict=True,
    ):
        digits += digit * (number // value)
        number %= value
    return digits


def ordinal(text: str) -> str | None:
    """The English ordinal of a number; None for other text."""
    if not text.isdecimal():
        return None
    last = "" if text[-2:] in ("11", "12", "13") else text[-1]
    return text + {"1": "st", "2": "nd", "3": "rd"}.get(last, "th")


def read_date(text: str, months: Mapping[str, str], days: Mapping[str, str]) -> str | None:
    """A date with the name of its month: `1 1 1995` -> `1er janvier 1995` in French; None if the text is no date."""
    words = text.split()
    if len(words) != 3 or not words[0].isdecimal() or not words[2].isdecimal():
        return None
    day, month = words[0].lstrip("0"), words[1].lstrip("0")
    return f"{days.get(day, day)} {months.get(month, words[1])} {words[2]}"


_ARROWS = [("<->", "⇌"), ("<-->", "⇌"), ("<=>", "⇌"), ("-->", "→"), ("->", "→"), ("<-", "←")]
_CHARGE = re.compile(r"\((\d*)([+-])\)")
_INDEX = re.compile(r"[_^]\{([^{}]*)\}")


def chemical_formula(text: str) -> str:
    """{{chem2|H2O + SO4(2-) -> X_{n}}} -> "H2O + SO42− → Xn"."""
    for sign, arrow in _ARROWS:
        text = text.replace(sign, arrow)
    return _INDEX.sub(r"\1", _CHARGE.sub(r"\1\2", text)).replace("-", "−")


def english_number(text: str, grouped: bool = True) -> str:
    """A number with a sign, commas, a fraction or a power of ten, as English templates show it; empty for other
    text."""
    text = text.replace("&nbsp;", " ").strip()
    if fraction := _FRACTION.fullmatch(text):
        sign, whole, above, below = fraction.groups()
        return sign.replace("-", "−") + (f"{whole} " if whole else "") + f"{above}⁄{below}"
    if power := _POWER.fullmatch(text):
        number = english_number(power[1])
        return f"{number} × 10^{power[2].lstrip('+').replace('-', '−')}" if number else ""
    if not text[-1:].isdigit() or not _COMMAS.fullmatch(text):
        return ""
    if "," not in text and grouped and not text.lstrip("-+−").startswith("."):
        return format_number(text, NumberStyle()) or ""
    return text.replace("-", "−")


def fraction(arguments: Arguments) -> str:
    """{{frac|12|1|2}} -> "12 1⁄2"; begins with a space, because {{frac|1|2}} may follow a whole number."""
    numbers = arguments.positional
    if not 1 <= len(numbers) <= 3 or not all(re.fullmatch(r"[\w+−-]+", number) for number in numbers):
        return ""
    whole, above, below = ["", "1", *numbers][-3:] if len(numbers) < 2 else ["", *numbers][-3:]
    return f"\xa0{whole}{' ' if whole else ''}{above}⁄{below}"


def percentage(arguments: Arguments) -> str:
    """{{percentage|22|50|1}} -> "44.0%"."""
    part, whole, digits = (arguments.get(name).replace(",", "") for name in ("1", "2", "3"))
    if not _PLAIN.fullmatch(part) or not _PLAIN.fullmatch(whole) or float(whole) == 0 or not (digits or "0").isdigit():
        return ""
    return f"{float(part) / float(whole) * 100:.{min(int(digits or 0), 9)}f}%"


_VAL_RANGES = {"-": "–", "–": "–", "to": " to ", "x": " × ", "×": " × ", "by": " by ", "and": " and ", "or": " or "}
_CLOSE_UNITS = ("%", "°", "′", "″", "'", '"')


def val(arguments: Arguments) -> str:
    """{{val|1.98|0.02|e=30|u=kg}} -> "(1.98±0.02) × 10^30 kg"."""
    words = arguments.positional
    grouped = arguments.get("fmt") == "commas"
    text = english_number(words[0], grouped) if words and words[0] else ""
    if words and words[0] and not text:
        return ""
    rest = words[1:]
    while len(rest) >= 2 and rest[0] in _VAL_RANGES and (number := english_number(rest[1], grouped)):
        text, rest = text + _VAL_RANGES[rest[0]] + number, rest[2:]
    errors = [error if re.fullmatch(r"\(\d+\)", error) else english_number(error) for error in rest if error]
    if len(errors) > 2 or not all(errors):
        return ""
    if len(errors) == 2:
        text += f" +{errors[0].lstrip('+')} −{errors[1].lstrip('-−')}"
    elif errors:
        text += errors[0] if errors[0].startswith("(") else f"±{errors[0].lstrip('±')}"
    if power := arguments.get("e"):
        text = f"({text})" if "±" in text or " +" in text else text
        text = f"{text} × 10^{power.replace('-', '−')}" if text else f"10^{power.replace('-', '−')}"
    return _with_unit(text, arguments) if text else ""


def _with_unit(text: str, arguments: Arguments) -> str:
    """A number with the prefix, unit and suffix of {{val}}."""
    unit = next(filter(None, map(arguments.get, ("u", "ul", "unit"))), "").replace("*", "⋅")
    per = next(filter(None, map(arguments.get, ("up", "upl"))), "")
    unit += f"/{per}" if per else ""
    space = " " if unit and not unit.startswith(_CLOSE_UNITS) else ""
    prefix, suffix = arguments.get("p"), arguments.get("s") or arguments.get("end")
    return f"{prefix}{text}{space}{unit}{suffix}"


_MONTHS = ["January", "February", "March", "April", "May", "June", "July"]
_MONTHS += ["August", "September", "October", "November", "December"]


def as_of(arguments: Arguments) -> str:
    """{{as of|2014|5|lc=y}} -> "as of May 2014"; with a capital letter without `lc`, as MediaWiki shows it."""
    if alternative := arguments.get("alt"):
        return alternative
    year, month, day = (arguments.get(name) for name in ("1", "2", "3"))
    if month.isdecimal() and 1 <= int(month) <= 12:
        month = _MONTHS[int(month) - 1]
    elif month and month.capitalize()[:3] not in {name[:3] for name in _MONTHS}:
        month = ""
    if not year:
        return ""
    is_american = arguments.get("df").lower() == "us"
    words = [month, f"{day}," if day else "", year] if is_american else [day, month, year]
    date = " ".join(filter(None, words)) if month else year
    verb = "since" if arguments.get("since") else "as of"
    verb = verb if arguments.get("lc") else verb.capitalize()
    return (date if arguments.get("bare") else f"{verb} {date}") + arguments.get("post")
