"""MediaWiki's arithmetic, as in {{#expr: (3 + 5) / 7 round 1}}; no language's code is ever run.

Source: https://www.mediawiki.org/wiki/Help:Extension:ParserFunctions##expr, with its precedence.
"""

import math
import re
from collections.abc import Callable

_MAX_LENGTH = 200
"""Longest expression that is worked out; articles' are much shorter."""
_MAX_DEPTH = 20
_MAX_POWER = 64
_TOKEN = re.compile(r"\s*(?:(\d+(?:\.\d*)?|\.\d+)|([a-z]+)|(<=|>=|<>|!=|[-+*/^()=<>−×÷]))", re.I)


class ExpressionError(ValueError):
    """Not an expression that can be worked out."""


def evaluate(text: str) -> float:
    """The expression's value.

    Raises:
        ExpressionError: it is malformed, too long, or divides by zero.
    """
    if len(text) > _MAX_LENGTH or text.count("(") > _MAX_DEPTH:
        raise ExpressionError("too long")
    parser = _Parser(_tokens(text))
    value = parser.binary(0)
    if parser.tokens:
        raise ExpressionError(f"unexpected {parser.tokens[-1]!r}")
    return value


def shown(value: float) -> str:
    """A number as MediaWiki shows it, without needless digits.

    Raises:
        ExpressionError: it is too large to be shown as digits.
    """
    if not abs(value) < 1e14:
        raise ExpressionError("too large")
    text = f"{value:.14g}"
    if "e" in text:
        raise ExpressionError("too small")
    return "0" if text == "-0" else text


def _tokens(text: str) -> list[str]:
    """Numbers, names and signs, the last one first."""
    tokens, position, text = [], 0, text.strip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if not match:
            raise ExpressionError(f"unexpected {text[position:]!r}")
        tokens.append((match[1] or match[2] or match[3]).lower().translate(str.maketrans("−×÷", "-*/")))
        position = match.end()
    return tokens[::-1]


def _divide(first: float, second: float) -> float:
    if not second:
        raise ExpressionError("division by zero")
    return first / second


def _power(first: float, second: float) -> float:
    if abs(second) > _MAX_POWER or (not first and second < 0) or (first < 0 and second != int(second)):
        raise ExpressionError("power out of range")
    return first**second


def _round(first: float, second: float) -> float:
    """To this number of decimals, halves away from zero as PHP does."""
    scale = 10.0 ** max(-15, min(int(second), 15))
    return math.copysign(math.floor(abs(first) * scale + 0.5 + 1e-9), first) / scale


_BINARY: list[dict[str, Callable[[float, float], float]]] = [
    {"or": lambda a, b: float(bool(a) or bool(b))},
    {"and": lambda a, b: float(bool(a) and bool(b))},
    {
        "=": lambda a, b: float(a == b),
        "<>": lambda a, b: float(a != b),
        "!=": lambda a, b: float(a != b),
        "<": lambda a, b: float(a < b),
        ">": lambda a, b: float(a > b),
        "<=": lambda a, b: float(a <= b),
        ">=": lambda a, b: float(a >= b),
    },
    {"round": _round},
    {"+": lambda a, b: a + b, "-": lambda a, b: a - b},
    {
        "*": lambda a, b: a * b,
        "/": _divide,
        "div": _divide,
        "mod": lambda a, b: math.fmod(int(a), int(b)) if int(b) else _divide(a, 0),
    },
    {"^": _power},
]
"""Operators from the loosest to the tightest."""
_UNARY: dict[str, Callable[[float], float]] = {
    "-": lambda a: -a,
    "+": lambda a: a,
    "not": lambda a: float(not a),
    "abs": abs,
    "floor": math.floor,
    "ceil": math.ceil,
    "trunc": math.trunc,
    "sqrt": lambda a: math.sqrt(a) if a >= 0 else _divide(a, 0),
}


class _Parser:
    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens

    def binary(self, level: int) -> float:
        """What operators of this level and tighter ones combine."""
        if level == len(_BINARY):
            return self.unary()
        value = self.binary(level + 1)
        while self.tokens and self.tokens[-1] in _BINARY[level]:
            operator = _BINARY[level][self.tokens.pop()]
            try:
                value = operator(value, self.binary(level + 1))
            except (OverflowError, ArithmeticError) as error:
                raise ExpressionError(str(error)) from error
        return value

    def unary(self) -> float:
        """A number, one in parentheses, or one with a sign or a function before it."""
        if not self.tokens:
            raise ExpressionError("ends too soon")
        token = self.tokens.pop()
        if token == "(":
            value = self.binary(0)
            if not self.tokens or self.tokens.pop() != ")":
                raise ExpressionError("a parenthesis does not close")
            return value
        if token in _UNARY:
            return _UNARY[token](self.unary())
        if token == "pi":
            return math.pi
        if not token[:1].isdigit() and not token.startswith("."):
            raise ExpressionError(f"unexpected {token!r}")
        return float(token)
