"""The families, by the name that recipes use: each is the module of its name, whose `FAMILY` it is."""

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.families.base import Family


def family_names() -> list[str]:
    """The families that there are, in alphabetical order."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in ("base", "encoders"))


def get_family(name: str) -> "Family[Any]":
    """The family of that name.

    Raises:
        ValueError: there is none; the message lists the names there are.
    """
    if name not in family_names():
        raise ValueError(f"family = {name}: must be one of {', '.join(family_names())}")
    family: Family[Any] = importlib.import_module(f"{__name__}.{name}").FAMILY
    return family
