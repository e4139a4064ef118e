"""Checks of the names and types in recipe files and command lines; errors suggest the name that was probably meant."""

import difflib
import math
import re
import tomllib
import types
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from jsonargparse import ArgumentError

from pipeline.runtime import recipes
from preprocessing.files import readable

Kinds = Mapping[str, Any]
"""Types of the fields by dotted name, as in `optimizer.lr`."""
RENAMED = {"optimizer.variant": {"nvlamb": "nvidia"}}
"""Current names of renamed values by former name, by field. A recipe from the user must use the current name; the
recipe that a run or a checkpoint has recorded may contain the former one (`pipeline.jobs.identity`)."""
_LEFT_TO_THE_PARSER = ("help", "print_config", "print_shtab")


def kinds_of(cls: type, prefix: str = "") -> dict[str, Any]:
    """Types of the fields of a dataclass and of the dataclasses in it, by dotted name."""
    kinds: dict[str, Any] = {}
    hints = get_type_hints(cls)
    for field in fields(cls):
        kind, name = hints[field.name], prefix + field.name
        kinds |= kinds_of(kind, f"{name}.") if is_dataclass(kind) and isinstance(kind, type) else {name: kind}
    return kinds


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by dotted name, as in `optimizer.lr`."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def sections_of(kinds: Kinds) -> set[str]:
    """Names of the sections, which are the parts of the names before the dot."""
    return {name.partition(".")[0] for name in kinds if "." in name}


def check_file(path: Path, kinds: Kinds) -> None:
    """Check a recipe file.

    Raises:
        ValueError: it is not valid TOML, or has an unknown or duplicate key or a value of the wrong type; the message
            names file and key.
        OSError: it cannot be read.
    """
    check_values(path, read_toml(path), kinds)


def read_toml(path: Path) -> dict[str, Any]:
    """The values of a TOML file.

    Raises:
        ValueError: it is not valid TOML; the message names file, line and column.
        OSError: it cannot be read.
    """
    with readable(path):
        content = path.read_bytes()
    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is no UTF-8 text ({error}); write it again, or restore it") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        place = re.search(r" \(at line (\d+), column (\d+)\)$", str(error))
        where = f"{path}:{place[1]}:{place[2]}" if place else f"{path}"
        what = str(error)[: place.start()] if place else str(error)
        raise ValueError(f"{where}: not valid TOML ({what}); correct it there") from None


def check_values(path: Path, values: Mapping[str, Any], kinds: Kinds) -> None:
    """Check the values of a recipe file.

    Raises:
        ValueError: there is an unknown key or a value of the wrong type; the message names file and key.
    """
    for name, value in values.items():
        if name in sections_of(kinds):
            if not isinstance(value, dict):
                raise ValueError(f"{path}: {name} = {value!r}: is a section; write [{name}], and its keys below")
            _check_section(path, name, value, kinds)
        elif name not in kinds:
            what = f"section [{name}]" if isinstance(value, dict) else f"key {name}"
            raise ValueError(f"{path}: unknown {what}; {suggestion(name, kinds)}")
        else:
            _check_value(path, name, value, kinds[name])


def _check_section(path: Path, section: str, values: Mapping[str, Any], kinds: Kinds) -> None:
    for key, value in values.items():
        name = f"{section}.{key}"
        if name not in kinds:
            raise ValueError(f"{path}: unknown key {name}; {suggestion(name, kinds)}")
        _check_value(path, name, value, kinds[name])


def suggestion(name: str, kinds: Kinds, prefix: str = "") -> str:
    """A remedy for an unknown name: the name that was probably meant or, if none is similar, the known names.

    Args:
        name: the unknown name, `section.key` or `section`.
        kinds: the known names.
        prefix: prefix of the suggested name, "--" on a command line.
    """
    section, _, key = name.rpartition(".")
    sections = sorted(sections_of(kinds))
    inside = {other.partition(".")[2]: other for other in kinds if section and other.startswith(f"{section}.")}
    everywhere = {other.rpartition(".")[2]: other for other in kinds}
    likely_section = (difflib.get_close_matches(section, sections, 1) if section not in sections else []) or [section]
    found = (
        [other for other in kinds if other == f"{likely_section[0]}.{key}"]
        or [inside[close] for close in difflib.get_close_matches(key, inside, 1)]
        or [everywhere[close] for close in difflib.get_close_matches(key, everywhere, 1, 0.8)]
        or difflib.get_close_matches(name, ["recipe", *sections, *kinds], 1)[: not section]
    )
    if found:
        return f"did you mean {prefix}{found[0]}?"
    return f"[{section}] has {', '.join(inside)}" if inside else f"there are the sections {', '.join(sections)}"


def _check_value(path: Path, name: str, value: Any, kind: Any) -> None:
    if not fits(value, kind):
        shown = str(value).lower() if isinstance(value, bool) else repr(value)
        raise ValueError(f"{path}: {name} = {shown}: {_rule(name, value, kind)}")


def _rule(name: str, value: Any, kind: Any) -> str:
    """The rule that a value of a field violates."""
    if now := RENAMED.get(name, {}).get(str(value)):
        return f"is called {now} now; write {now}"
    return f"must be {described(kind)}"


def fits(value: Any, kind: Any) -> bool:
    """Whether a value of TOML is of a field's type."""
    if get_origin(kind) in (Union, types.UnionType):
        return any(fits(value, one) for one in get_args(kind))
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) is list:
        return isinstance(value, list) and all(fits(one, get_args(kind)[0]) for one in value)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, str if kind is Path else kind)


def fits_text(text: str, kind: Any) -> bool:
    """Whether a value of the command line is of a field's type."""
    if get_origin(kind) in (Union, types.UnionType):
        return any(fits_text(text, one) for one in get_args(kind))
    if get_origin(kind) is Literal:
        return text in get_args(kind)
    if get_origin(kind) is list:
        try:
            return fits(tomllib.loads(f"value = {text}")["value"], kind)
        except tomllib.TOMLDecodeError:
            return False
    if kind is bool:
        return text.lower() in ("true", "false")
    if kind in (int, float):
        try:
            return math.isfinite(kind(text))
        except (ValueError, OverflowError):
            return False
    return True


def described(kind: Any) -> str:
    """The type of a field in words, for error messages."""
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(map(described, get_args(kind)))
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    if get_origin(kind) is list:
        example = "[0.3, 0.7]" if get_args(kind)[0] is float else '["a", "b"]'
        return f"a list such as {example}"
    return {bool: "true or false", int: "an integer", float: "a finite number", Path: "a path", str: "text"}[kind]


def check_arguments(arguments: list[str], kinds: Kinds) -> set[str]:
    """Check a command line and return the names that it sets.

    Raises:
        ArgumentError: an option is unknown, has no value, or has a value of the wrong type.
        ValueError: a recipe file is missing or invalid (`check_file`).
    """
    given: set[str] = set()
    for name, value in pairs(arguments):
        if name.startswith(_LEFT_TO_THE_PARSER):
            return given
        if name not in {"recipe", *kinds, *sections_of(kinds)}:
            raise _usage(f"unknown option --{name}; {suggestion(name, kinds, '--')}")
        if value is None:
            raise _usage(f"--{name}: needs a value; write --{name} VALUE")
        if name == "recipe":
            check_file(recipes.find(value), kinds)
        elif name in kinds and not fits_text(value, kinds[name]):
            raise _usage(f"{name} = {value}: {_rule(name, value, kinds[name])}")
        given.add(name)
    return given


def pairs(arguments: list[str]) -> Iterator[tuple[str, str | None]]:
    """The (name, value) of each option; the value is None if there is none.

    Raises:
        ArgumentError: an argument is not an option.
    """
    rest = iter(arguments)
    for argument in rest:
        if argument == "-h":
            yield "help", None
        elif not argument.startswith("--"):
            raise _usage(f"{argument}: is no option; options are --recipe FILE and --section.field value")
        else:
            name, equals, value = argument[2:].partition("=")
            takes_next = not equals and not name.startswith(_LEFT_TO_THE_PARSER)
            following = next(rest, None) if takes_next else value
            yield name, None if following is not None and following.startswith("--") and not equals else following


def _usage(text: str) -> ArgumentError:
    return ArgumentError(None, text)
