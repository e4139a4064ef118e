"""The one error class for what a user can put right: input, options, files on disk.

`python -m preprocessing` prints its message and exits 1; any other exception is our own mistake and keeps its
traceback.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class DataError(ValueError):
    """A file, a record or an option breaks a rule; the message names the place, the value, the rule and the remedy."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'nsp'?` where one of the known names is close to this one; otherwise nothing."""
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def check_name(option: str, name: str, known: Iterable[str]) -> None:
    """Checks that an option names something known.

    Raises:
        DataError: it does not; the message has the closest name.
    """
    names = list(known)
    if name not in names:
        raise DataError(f"{option} = {name!r}: must be one of {', '.join(names)}{did_you_mean(name, names)}")
