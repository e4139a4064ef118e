"""The families, by the name that recipes use. To add one: write its file, name it here."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a recipe is read, and help shown, without torch
    from pipeline.families.base import Family

FAMILIES = ("bert",)
"""Each is the module of its name, whose FAMILY it is."""


def get_family(name: str) -> "Family":
    """The family of that name.

    Raises:
        ValueError: there is none; the message lists the names there are.
    """
    if name not in FAMILIES:
        raise ValueError(f"family={name!r} is unknown: choose one of {', '.join(FAMILIES)}")
    family: Family = importlib.import_module(f"pipeline.families.{name}").FAMILY
    return family
