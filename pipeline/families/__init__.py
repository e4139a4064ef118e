"""Model families by name: the module or package of a family's name defines it as `FAMILY`."""

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.families.base import Family


NO_FAMILIES = ("base", "encoders", "replaced", "students", "teachers")
"""Modules of this package that are no families."""


def family_names() -> list[str]:
    """Return the names of all families in alphabetical order."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in NO_FAMILIES)


def family_of_type(model_type: str) -> str:
    """Return the name of the family whose models have this `model_type` in their `config.json`; empty if none has."""
    return next((name for name in family_names() if model_type == (get_family(name).model_type or name)), "")


def get_family(name: str) -> "Family[Any]":
    """Return the family of a name.

    Raises:
        ValueError: no family has this name; the message lists those that exist.
    """
    if name not in family_names():
        raise ValueError(f"family = {name}: must be one of {', '.join(family_names())}")
    family: Family[Any] = importlib.import_module(f"{__name__}.{name}").FAMILY
    return family
