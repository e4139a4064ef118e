"""Parser of the command line with one-line errors: option, value, rule, and the most similar known name."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NoReturn, Union, get_args, get_origin

from jsonargparse import ArgumentParser

from preprocessing.errors import did_you_mean

_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def program(module: str) -> str:
    """The command as it was called, for help and errors: the name of the installed one, else `python -m MODULE`."""
    called = Path(sys.argv[0]).name
    return called if called.startswith("bert-") else f"python -m {module}"


class Parser(ArgumentParser):
    """Parser of jsonargparse that prints errors without the usage text."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Prints an error of one line and exits with status 2."""
        lines = " ".join(message.split())
        for pattern, explain in _EXPLANATIONS.items():
            if match := re.match(pattern, lines):
                lines = explain(self, *match.groups())
                break
        print(f"error: {lines} (see {self.prog.replace(' [options]', '')} --help)", file=sys.stderr)
        sys.exit(2)

    def options(self) -> list[str]:
        """Names of all options, such as `--out`."""
        return [name for name in self._option_string_actions if name.startswith("--")]


def _unknown_options(parser: Parser, text: str) -> str:
    name = text.split()[0].partition("=")[0]
    if not name.startswith("-"):
        return f"{name}: one argument too many; leave it out"
    return f"{name}: no such option{did_you_mean(name, parser.options())}"


def _wrong_value(parser: Parser, key: str, rest: str) -> str:
    value = re.search(r"(?:Got|Given) value: (.*)$", rest)
    action: Any = parser._option_string_actions.get(f"--{key}")
    hint = getattr(action, "_typehint", None)
    if value is None or hint is None:
        return f"--{key}: {rest}"
    names = [str(choice) for choice in _choices(hint)]
    return f"--{key} = {value[1]}: must be {_allowed_values(hint)}{did_you_mean(value[1], names)}"


def _allowed_values(hint: Any) -> str:
    """Description of the values that a type allows."""
    if choices := _choices(hint):
        names = [str(choice) or '""' for choice in choices]
        return ", ".join(names[:-1]) + f" or {names[-1]}"
    parts = [part for part in get_args(hint) if part is not NoneType]
    if get_origin(hint) in (Union, UnionType, list) and len(parts) == 1:
        return _allowed_values(parts[0])
    return _KINDS.get(hint, getattr(hint, "__name__", str(hint)))


def _choices(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) is Literal else ()


def _wrong_command(parser: Parser, name: str, known: str) -> str:
    names = re.findall(r"'([^']*)'", known)
    return f"{name}: no such command, known are {', '.join(names)}{did_you_mean(name, names)}"


def _missing(parser: Parser, names: str) -> str:
    return ", ".join(_option(parser, name.split(".")) for name in names.split(", ")) + ": required, and not given"


def _option(parser: ArgumentParser, path: list[str]) -> str:
    """The last name of a path of subcommands, with hyphens if it is an option."""
    for name in path[:-1]:
        parser = _subcommands(parser)[name]
    return f"--{path[-1]}" if f"--{path[-1]}" in parser._option_string_actions else path[-1]


def _subcommands(parser: ArgumentParser) -> dict[str, ArgumentParser]:
    return next((action._name_parser_map for action in parser._actions if hasattr(action, "_name_parser_map")), {})


def _no_command(parser: Parser, destination: str) -> str:
    for name in destination.split(".")[:-1]:
        parser = _subcommands(parser)[name]  # type: ignore[assignment]
    return f"no command given, known are {', '.join(_subcommands(parser))}"


_EXPLANATIONS: dict[str, Callable[..., str]] = {
    r"unrecognized arguments: (.*)$": _unknown_options,
    r'Parser key "([\w.]+)"(?: element \d+)?: (.*)$': _wrong_value,
    r"argument \w+: invalid choice: '([^']*)' \(choose from (.*)\)$": _wrong_command,
    r"the following arguments are required: (.*)$": _missing,
    r'expected "([\w.]+)" to be one of \{': _no_command,
}
"""Replacements for the error messages of jsonargparse and argparse, by pattern."""
