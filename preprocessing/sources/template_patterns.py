r"""Patterns of the text of templates, such as `{1}[ {2}] siècle`, and the arguments that fill them.

A pattern is text with fields. If a field is empty, so is the whole text, unless the field is in `[...]`: then only the
bracket is empty. ` || ` separates alternatives, of which the first with all fields filled is taken.

| field | text |
|---|---|
| `{1}`, `{-1}`, `{label}` | the first or the last argument without a name, or the argument of that name |
| `{label,2,1}` | the first of these arguments that is not empty |
| `{2=e}` | the second argument, or `e` if it is empty |
| `{2:month}` | the second argument after the filter or map `month`; unchanged if the map lacks it |
| `{2:month!}` | the same, but empty if the map lacks it |
| `{1+, }` | all arguments without a name from the first on, joined by `, ` |
| `{*}` | the part of the template's name that a wildcard matches, as written |
| `{#2}` | no text; counts as empty if there are more than two arguments without a name |

`\` before one of `[]{}` makes it text.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

Filter = Callable[[str], str | None]
"""From an argument to its text; None if the filter does not accept the argument."""
Reading = Callable[["Arguments"], str]
"""From the arguments of a template to its text; empty if it has none."""
_Piece = Callable[["Arguments"], str | None]

_ARGUMENT_NAME = re.compile(r"[\w .'/-]+")
_TOKEN = re.compile(
    r"\{(?P<names>[^{}:=]+)(?::(?P<filter>\w+)(?P<must>!?))?(?:=(?P<default>[^{}]*))?\}"
    r"|(?P<bracket>[\[\]])|\\(?P<escaped>.)|(?P<text>[^{}\[\]\\]+)",
    re.S,
)
_REST = re.compile(r"(\d+)\+(.*)", re.S)


@dataclass
class Arguments:
    """The arguments of a template, numbered as in MediaWiki."""

    values: dict[str, str] = field(default_factory=dict)
    """Values by name, or by number from 1 on, without surrounding white space."""
    count: int = 0
    """Number of arguments without a name."""
    wildcard: str = ""

    def get(self, name: str) -> str:
        """The argument of this name or number (-1: the last one without a name); empty if there is none."""
        return self.values.get(str(self.count) if name == "-1" else name, "")

    @property
    def positional(self) -> list[str]:
        """The arguments without a name."""
        return [self.values.get(str(number), "") for number in range(1, self.count + 1)]


def read_arguments(parts: list[str], wildcard: str = "") -> Arguments:
    """The arguments of a template, from its parts between vertical bars."""
    arguments = Arguments(wildcard=wildcard)
    for part in parts:
        name, equals, value = part.partition("=")
        if equals and _ARGUMENT_NAME.fullmatch(name):
            arguments.values[name.strip()] = value.strip()
            continue
        arguments.count += 1
        arguments.values[str(arguments.count)] = part.strip()
    while str(arguments.count + 1) in arguments.values:
        arguments.count += 1
    return arguments


def compile_pattern(pattern: str, filters: Mapping[str, Filter]) -> Reading:
    """Compiles a pattern to a function from arguments to text.

    Raises:
        ValueError: the pattern is malformed or names an unknown filter.
    """
    alternatives = [_sequence(_tokens(alternative), filters) for alternative in pattern.split(" || ")]
    leads_with_group = pattern.startswith("[")

    def read(arguments: Arguments) -> str:
        for alternative in alternatives:
            if text := alternative(arguments):
                return text.lstrip(" ,;") if leads_with_group else text
        return ""

    return read


def _tokens(pattern: str) -> Iterator[re.Match[str]]:
    position = 0
    while position < len(pattern):
        match = _TOKEN.match(pattern, position)
        if not match:
            raise ValueError(f"{pattern!r}: not understood from {pattern[position:]!r} on")
        yield match
        position = match.end()


def _sequence(tokens: Iterator[re.Match[str]], filters: Mapping[str, Filter], inside: bool = False) -> _Piece:
    """The sequence of pieces up to the end or the closing bracket; None as a whole if a piece is None."""
    parts: list[_Piece] = []
    for token in tokens:
        if token["bracket"] == "]":
            if not inside:
                raise ValueError(f"{token.string!r}: ']' closes nothing")
            break
        if token["bracket"]:
            parts.append(_optional(_sequence(tokens, filters, inside=True)))
        elif token["names"]:
            parts.append(_field(token, filters))
        else:
            parts.append(_constant(token["escaped"] or token["text"]))

    def read(arguments: Arguments) -> str | None:
        texts = []
        for part in parts:
            text = part(arguments)
            if text is None:
                return None
            texts.append(text)
        return "".join(texts)

    return read


def _constant(text: str) -> _Piece:
    return lambda arguments: text


def _optional(part: _Piece) -> _Piece:
    return lambda arguments: part(arguments) or ""


def _field(token: re.Match[str], filters: Mapping[str, Filter]) -> _Piece:
    names, default = token["names"], token["default"]
    if names.startswith("#"):
        limit = int(names[1:])
        return lambda arguments: "" if arguments.count <= limit else None
    if token["filter"] and token["filter"] not in filters:
        raise ValueError(f"{token.string!r}: no filter or map {token['filter']!r}")
    value = _value(names)
    apply, must = filters.get(token["filter"] or ""), bool(token["must"])

    def read(arguments: Arguments) -> str | None:
        text = value(arguments) or default
        if not text or not apply:
            return text or None
        filtered = apply(text)
        return (None if must else text) if filtered is None else filtered

    return read


def _value(names: str) -> Reading:
    """The function that looks up the argument of a field."""
    if names == "*":
        return lambda arguments: arguments.wildcard
    if rest := _REST.fullmatch(names):
        start, separator = int(rest[1]) - 1, rest[2]
        return lambda arguments: separator.join(filter(None, arguments.positional[start:]))
    choices = names.split(",")
    if len(choices) == 1:
        return lambda arguments: arguments.get(names)
    return lambda arguments: next(filter(None, map(arguments.get, choices)), "")
