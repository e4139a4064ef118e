"""Human-readable times, sizes and texts."""

from datetime import timedelta
from typing import Any

GIB = 2**30
"""Number of bytes in a GiB."""


def printable(text: Any) -> str:
    """The text in one line; control characters, which a terminal would interpret, are replaced by spaces."""
    return "".join(letter if letter.isprintable() else " " for letter in str(text))


def duration(seconds: float) -> str:
    """A duration as 12.3 s if it is below a minute, otherwise as 0:12:34 or 2 days, 0:12:34; negative ones as 0 s."""
    seconds = max(0.0, seconds)
    return f"{seconds:.3g} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))


def rounded_duration(seconds: float) -> str:
    """A duration in the largest unit of which it has at least two: 3.0 s, 10.0 min, 2.0 h or 2.3 d."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.1f} s"


def binary_size(size: float) -> str:
    """A size in bytes as text, in GiB or, below half a GiB, in MiB."""
    return f"{size / GIB:.1f} GiB" if size >= GIB / 2 else f"{size / 2**20:.1f} MiB"
