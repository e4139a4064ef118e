"""Human-readable times, sizes and texts."""

import pytest

from pipeline.runtime.formatting import binary_size, duration, printable, rounded_duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0 s"), (0.5, "0.5 s"), (59, "59 s"), (60, "0:01:00"), (3661, "1:01:01"), (2 * 86400 + 1, "2 days, 0:00:01")],
)
def test_durations(seconds, text):
    """Durations are formatted in hours, minutes and seconds, and are not negative if a clock was set back."""
    assert duration(seconds) == text


def test_rounded_durations():
    """A duration is shown in the largest unit of which it has at least two."""
    assert [rounded_duration(s) for s in (3, 600, 7200, 200_000)] == ["3.0 s", "10.0 min", "2.0 h", "2.3 d"]


def test_sizes():
    """Sizes below half a GiB are shown in MiB."""
    assert (binary_size(2**29), binary_size(2**28)) == ("0.5 GiB", "256.0 MiB")


def test_control_characters_do_not_reach_the_terminal():
    """Escape sequences and line ends are replaced, so that they do not reach the terminal."""
    assert printable("a\x1b[31m\nb") == "a [31m b"
