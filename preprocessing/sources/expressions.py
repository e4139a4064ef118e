"""Evaluates MediaWiki's arithmetic expressions, as in {{#expr: (3 + 5) / 7 round 1}}, without executing code.

Source: https://www.mediawiki.org/wiki/Help:Extension:ParserFunctions##expr, with its precedence.
"""

import math
import re
from collections.abc import Callable

_MAX_LENGTH = 200
"""Longest expression that is evaluated, in characters; those of articles are much shorter."""
_MAX_DEPTH = 20
_MAX_POWER = 64
_TOKEN = re.compile(r"\s*(?:(\d+(?:\.\d*)?|\.\d+)|([a-z]+)|(<=|>=|<>|!=|[-+*/^()=<>−×÷]))", re.I)


class ExpressionError(ValueError):
    """An expression that cannot be evaluated."""


def evaluate(text: str) -> float:
    """The value of an expression.

    Raises:
        ExpressionError: it is malformed, too long, or undefined, such as a division by zero.
    """
    if len(text) > _MAX_LENGTH or text.count("(") > _MAX_DEPTH:
        raise ExpressionError("too long")
    parser = _Parser(_tokens(text))
    value = parser.binary(0)
    if parser.tokens:
        raise ExpressionError(f"unexpected {parser.tokens[-1]!r}")
    return value


def shown(value: float) -> str:
    """A number as MediaWiki shows it, without trailing zeros.

    Raises:
        ExpressionError: it is too large or too small to be shown without an exponent.
    """
    if not abs(value) < 1e14:
        raise ExpressionError("too large")
    text = f"{value:.14g}"
    if "e" in text:
        raise ExpressionError("too small")
    return "0" if text == "-0" else text


def _tokens(text: str) -> list[str]:
    """The tokens of an expression (numbers, names and signs), in reverse order."""
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
    """The number rounded to `second` decimals, halves away from zero, as in PHP."""
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
"""Binary operators, from the lowest precedence to the highest."""
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
        """The value of an expression of operators of this precedence level and above."""
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
        """The value of a number, a parenthesised expression, or a unary operator or function with its operand."""
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
