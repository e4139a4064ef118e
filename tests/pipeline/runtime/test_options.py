"""Recipe files and command lines are checked by name and type before any other code reads them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from jsonargparse import ArgumentError

from pipeline.runtime.options import check_arguments, check_file, fits, fits_text, flatten, kinds_of


@dataclass
class Section:
    rate: float = 0.1
    kind: Literal["fast", "slow"] = "fast"
    verbose: bool = False


@dataclass
class Whole:
    seed: int = 1
    name: str = ""
    section: Section = field(default_factory=Section)


KINDS = kinds_of(Whole)


def test_kinds_and_values_have_the_same_dotted_names():
    """Fields of nested dataclasses and tables of a TOML file have the same dotted names."""
    values = {"seed": 1, "name": "a", "section": {"rate": 0.1, "kind": "fast", "verbose": False}}
    assert flatten(values).keys() == KINDS.keys() == {"seed", "name", *(f"section.{k}" for k in values["section"])}
    assert flatten({"a": {"b": {"c": 1}}, "d": {}}) == {"a.b.c": 1}


@pytest.mark.parametrize(
    ("kind", "value", "text", "accepted"),
    [
        (int, 3, "3", True),
        (int, True, "true", False),
        (float, 3, "3", True),
        (float, True, "true", False),
        (float, float("nan"), "nan", False),
        (bool, True, "True", True),
        (bool, 1, "1", False),
        (Literal["fast", "slow"], "slow", "slow", True),
        (Literal["fast", "slow"], "fas", "fas", False),
        (int | None, 2, "2", True),
        (list[float], [0.5, 1], "[0.5, 1]", True),
        (list[float], 0.5, "0.5", False),
        (list[Path], ["a", "b"], '["a", "b"]', True),
        (list[Path], [1], "[a]", False),
    ],
)
def test_types_of_toml_values_and_of_words(kind, value, text, accepted):
    """An integer is accepted as a float, and a truth value is not accepted as a number."""
    assert fits(value, kind) == fits_text(text, kind) == accepted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed = x\n", r"recipe.toml:1:\d+: not valid TOML"),
        ("sed = 1", "unknown key sed; did you mean seed"),
        ("[sectoin]\nrate = 1", r"unknown section \[sectoin\]; did you mean section"),
        ("section = 1", r"section = 1: is a section; write \[section\]"),
        ("[section]\nrat = 1", "unknown key section.rat; did you mean section.rate"),
        ("[section]\nseed = 1", "unknown key section.seed; did you mean seed"),
        ("[section]\nrate = 'x'", "section.rate = 'x': must be a finite number"),
        ("[section]\nkind = 'x'", "section.kind = 'x': must be one of fast, slow"),
        ("[section]\nverbose = 1", "section.verbose = 1: must be true or false"),
        ("seed = true", "seed = true: must be an integer"),
    ],
)
def test_a_wrong_file_is_an_error_that_names_the_place(tmp_path, text, message):
    """Errors in a file name the file and the key, and suggest the name that was probably meant."""
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        check_file(path, KINDS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sed", "1"], "unknown option --sed; did you mean --seed"),
        (["--seed"], "--seed: needs a value"),
        (["--seed", "--name", "x"], "--seed: needs a value"),
        (["--seed=1.5"], "seed = 1.5: must be an integer"),
        (["seed", "1"], "seed: is no option"),
    ],
)
def test_a_wrong_command_line_is_an_error_of_usage(arguments, message):
    """An error on the command line is an error of usage that names the option."""
    with pytest.raises(ArgumentError, match=message):
        check_arguments(arguments, KINDS)


def test_the_names_that_a_command_line_sets(tmp_path):
    """The recipe file is among the names that a command line sets, and is checked itself."""
    path = tmp_path / "recipe.toml"
    path.write_text("seed = 2")
    assert check_arguments(["--recipe", str(path), "--section.rate=-1", "--name", "x"], KINDS) == {
        "recipe",
        "section.rate",
        "name",
    }
    with pytest.raises(ValueError, match=r"recipe nowhere.toml: no such file"):
        check_arguments(["--recipe", str(Path("nowhere.toml"))], KINDS)
