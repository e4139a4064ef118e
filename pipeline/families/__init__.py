"""The families, by the name that recipes use. To add one: write its file, list it here."""

from pipeline.families import bert
from pipeline.families.base import Family

FAMILIES: dict[str, Family] = {family.name: family for family in (bert.FAMILY,)}


def get_family(name: str) -> Family:
    """The family of that name.

    Raises:
        ValueError: there is none; the message lists the names there are.
    """
    if name not in FAMILIES:
        raise ValueError(f"family={name!r} is unknown: choose one of {', '.join(sorted(FAMILIES))}")
    return FAMILIES[name]
