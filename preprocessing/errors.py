"""The exception for errors that a user can correct: in the input, the options, or files on disk.

`python -m preprocessing` prints its message and exits with status 1. Any other exception is a bug and is printed with
its traceback.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class DataError(ValueError):
    """A file, a record or an option breaks a rule; the message names the place, the value, the rule and the remedy."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'nsp'?` if a known name is similar to `name`, otherwise an empty string."""
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def check_name(option: str, name: str, known: Iterable[str]) -> None:
    """Checks that the value of an option is one of the known names.

    Raises:
        DataError: it is not; the message suggests the most similar name.
    """
    names = list(known)
    if name not in names:
        raise DataError(f"{option} = {name!r}: must be one of {', '.join(names)}{did_you_mean(name, names)}")
