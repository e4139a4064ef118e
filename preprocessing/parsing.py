"""A command line's parser whose errors are one line, with what was probably meant."""

import difflib
import re
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

from jsonargparse import ArgumentParser

_WRONG_TYPE = re.compile(r'Parser key "(?P<name>[^"]+)":.*?Expected an? (?P<kind>.*?)\. Got value: (?P<value>.*)')
_KINDS = {"<class 'int'>": "an integer", "<class 'float'>": "a number", "<class 'bool'>": "true or false"}
_UNKNOWN = "unrecognized arguments: "


class Parser(ArgumentParser):
    """Says what is wrong in one line, without the usage of all options before it; ends with status 2."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the error and exit."""
        text = " ".join(str(message).split())
        if wrong := _WRONG_TYPE.fullmatch(text):
            kind = _KINDS.get(wrong["kind"]) or wrong["kind"].replace("typing.Literal[", "one of ").replace(
                "'", ""
            ).rstrip("]")
            text = f"{wrong['name']} = {wrong['value']}: must be {kind}"
        elif text.startswith(_UNKNOWN):
            name = text.removeprefix(_UNKNOWN).partition(" ")[0].partition("=")[0]
            close = difflib.get_close_matches(name, sorted(set(_options(self))), 1)
            text = f"unknown option {name}; " + (f"did you mean {close[0]}?" if close else "--help lists all")
        print(f"error: {text}", file=sys.stderr)
        sys.exit(2)


def _options(parser: Any) -> Iterator[str]:
    """The options of a parser and of its subcommands."""
    for action in parser._actions:
        yield from action.option_strings
        choices = action.choices if isinstance(action.choices, dict) else {}
        for sub in choices.values():
            if isinstance(sub, ArgumentParser):
                yield from _options(sub)
