"""MediaWiki's parser functions and variables, such as {{formatnum:1234}}, {{#if:...}} and {{PAGENAME}}.

Sources: https://www.mediawiki.org/wiki/Help:Magic_words and
https://www.mediawiki.org/wiki/Help:Extension:ParserFunctions. Functions that depend on the live wiki (the time, other
pages, modules) have empty text.
"""

import html
from collections.abc import Callable
from typing import NamedTuple

from preprocessing.sources.expressions import ExpressionError, evaluate, shown
from preprocessing.sources.template_numbers import NumberStyle, format_number, parse_number


class Context(NamedTuple):
    """Inputs of functions and variables besides their arguments."""

    language: str
    style: NumberStyle
    title: str = ""


Function = Callable[[list[str], Context], str]
"""From the arguments, the first of which follows the colon, to text."""


def _formatnum(values: list[str], context: Context) -> str:
    options = {value.strip().upper() for value in values[1:]}
    number = html.unescape(values[0].strip()).replace("−", "-")
    if "R" in options:
        return parse_number(number, context.style)
    shown_number = format_number(number, context.style, grouped="NOSEP" not in options)
    return values[0].strip() if shown_number is None else shown_number


_SLAVIC = {"ru", "uk", "be", "sr", "hr", "bs", "sh"}
_ONE_FORM = {"ja", "zh", "ko", "th", "vi", "id", "ms", "yue", "wuu", "lo", "my"}


def _plural(values: list[str], context: Context) -> str:
    """The plural form for a number, by the rule of the language if it is known here."""
    number, forms = parse_number(values[0].strip(), context.style), [value.strip() for value in values[1:]]
    exact = dict(form.split("=", 1) for form in forms if form.partition("=")[0].isdecimal() and "=" in form)
    forms = [form for form in forms if not (form.partition("=")[0].isdecimal() and "=" in form)]
    if number in exact:
        return exact[number]
    if not forms or not number.removeprefix("-").replace(".", "", 1).isdecimal():
        return ""
    amount = abs(float(number))
    index = 0 if amount == 1 or (context.language in ("fr", "pt") and amount < 2) else 1
    if context.language in _ONE_FORM:
        index = 0
    if context.language in _SLAVIC and len(forms) > 2:
        ones, tens = int(amount) % 10, int(amount) % 100
        index = 0 if ones == 1 and tens != 11 else 1 if 2 <= ones <= 4 and not 12 <= tens <= 14 else 2
    return forms[min(index, len(forms) - 1)]


def _grammar(values: list[str], context: Context) -> str:
    return values[-1].strip() if len(values) > 1 else ""


def _pad(values: list[str], context: Context, left: bool) -> str:
    text, width, fill = values[0].strip(), (values[1:2] or [""])[0].strip(), (values[2:3] or ["0"])[0].strip() or "0"
    missing = min(int(width), 500) - len(text) if width.isdecimal() else 0
    padding = (fill * (missing // len(fill) + 1))[: max(0, missing)]
    return padding + text if left else text + padding


def _if(values: list[str], context: Context) -> str:
    return _nth(values, 1 if values[0].strip() else 2)


def _ifeq(values: list[str], context: Context) -> str:
    first, second = values[0].strip(), _nth(values, 1)
    number = _number(first)
    is_equal = first == second or (number is not None and number == _number(second))
    return _nth(values, 2 if is_equal else 3)


def _switch(values: list[str], context: Context) -> str:
    """The value of the case that equals the first argument; a case without a value has that of the next one."""
    sought, default, is_found = values[0].strip(), "", False
    for position, case in enumerate(values[1:], 2):
        name, equals, value = case.partition("=")
        is_found = is_found or name.strip() == sought
        if equals and is_found:
            return value.strip()
        if equals and name.strip() == "#default":
            default = value.strip()
        elif not equals and position == len(values):
            return name.strip()
    return default


def _expr(values: list[str], context: Context) -> str:
    try:
        return shown(evaluate(html.unescape(values[0])))
    except ExpressionError:
        return ""


def _ifexpr(values: list[str], context: Context) -> str:
    try:
        return _nth(values, 1 if evaluate(html.unescape(values[0])) else 2)
    except ExpressionError:
        return ""


def _nth(values: list[str], number: int) -> str:
    return values[number].strip() if number < len(values) else ""


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


FUNCTIONS: dict[str, Function] = {
    "formatnum": _formatnum,
    "plural": _plural,
    "grammar": _grammar,
    "lc": lambda values, context: values[0].strip().lower(),
    "uc": lambda values, context: values[0].strip().upper(),
    "lcfirst": lambda values, context: values[0].strip()[:1].lower() + values[0].strip()[1:],
    "ucfirst": lambda values, context: values[0].strip()[:1].upper() + values[0].strip()[1:],
    "padleft": lambda values, context: _pad(values, context, left=True),
    "padright": lambda values, context: _pad(values, context, left=False),
    "#if": _if,
    "#ifeq": _ifeq,
    "#switch": _switch,
    "#expr": _expr,
    "#ifexpr": _ifexpr,
    "#formatdate": lambda values, context: values[0].strip(),
    "#dateformat": lambda values, context: values[0].strip(),
}
"""Functions by their English name in lower case; wikis/functions.toml has their names in other languages."""

VARIABLES: dict[str, Callable[[Context], str]] = {
    "!": lambda context: "|",
    "=": lambda context: "=",
    "pagename": lambda context: context.title,
    "fullpagename": lambda context: context.title,
    "basepagename": lambda context: context.title,
    "subpagename": lambda context: context.title,
}
"""Variables whose value is known; others have empty text, like all unknown templates without arguments."""
