"""Human-readable times, sizes and texts."""

from datetime import timedelta
from typing import Any


def printable(text: Any) -> str:
    """Text in one line, without control characters that would steer a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in str(text))


def duration(seconds: float) -> str:
    """Seconds below a minute, otherwise 0:12:34 or 2 days, 0:12:34; never negative."""
    seconds = max(0.0, seconds)
    return f"{seconds:.3g} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))


def binary_size(size: float) -> str:
    """A number of bytes in GiB, or in MiB below half a GiB."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**29 else f"{size / 2**20:.1f} MiB"
