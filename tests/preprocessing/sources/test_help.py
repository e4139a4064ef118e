"""Laws of preprocessing/sources/help.py."""

from preprocessing.sources.help import KIND_HELP, SOURCES_HELP
from preprocessing.sources.registry import KINDS


def test_the_help_explains_every_kind_of_source():
    """The help explains every kind of source as KIND:PATH, in the order of the registry."""
    assert list(KIND_HELP) == list(KINDS)
    assert all(f"{kind}:PATH ({text})" in SOURCES_HELP for kind, text in KIND_HELP.items())
