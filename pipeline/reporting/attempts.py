"""A figure of the attempts of a run: a horizontal bar for each over time, with markers of its events."""

from datetime import UTC
from typing import Any

from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

from pipeline.reporting.drawing import GRID, INK, MUTED, SIZE, Picture, paint
from pipeline.runlog.attempts import KILLED, RUNNING, SILENT, History
from pipeline.runlog.reader import Run

_DAY = 86400.0
_ROOMY = 12
"""Largest number of attempts for which bars and markers have their full size."""
_MOST_ROWS = 80
"""Number of attempts from which on the height of the figure is constant and the bars become thinner."""
_ENDS: dict[str, tuple[str, str, str]] = {
    "finished": ("o", "#2e8b57", "finished"),
    "interrupted": ("s", "#d79b00", "interrupted by a signal"),
    "failed": ("X", "#b03a48", "failed"),
    KILLED: ("D", INK, "killed (last record)"),
    SILENT: ("D", MUTED, "no heartbeat"),
    RUNNING: (">", "#2f6fb5", "training"),
}
"""Marker, colour and legend for each ending of an attempt."""
_MARKS: dict[str, tuple[str, str, str, float]] = {
    "checkpoint": ("|", "#1f4f86", "checkpoint", 9),
    "skipped_step": ("x", "#d2691e", "skipped step", 5),
    "broken_checkpoint": ("v", "#8a4fb0", "broken checkpoint", 6),
}
"""Marker, colour, legend and size for each kind of event during an attempt."""


def attempts_picture(run: Run, past: History, number: int, among: int) -> list[Picture]:
    """The figure of the attempts over wall-clock time, in a list; an empty list for a run without events.

    Args:
        run: the run.
        past: the attempts of the run.
        number: index of the run on the page, from 0.
        among: number of runs on the page.
    """
    if not past.attempts:
        return []
    slug, of = (f"-{number + 1}", f", {run.name}") if among > 1 else ("", "")
    rows = len(past.attempts)
    height = 1.65 + (0.24 if rows <= _ROOMY else 0.15) * min(rows, _MOST_ROWS)
    caption = "Each bar is an attempt. Its pale part is after the last checkpoint; the steps in it were lost."
    title = f"Attempts{of}"
    picture = paint(lambda axes: _plot(axes, past), title, (SIZE[0] * 1.7, height))
    return [Picture(f"attempts{slug}", title, caption, picture)]


def _plot(axes: Axes, past: History) -> None:
    legend: dict[str, Any] = {}
    small = 1.0 if len(past.attempts) <= _ROOMY else 0.6
    for attempt in past.attempts:
        row, begin, end = attempt.number, attempt.begin / _DAY, attempt.last / _DAY
        saved = [event["at"] for event in attempt.of("checkpoint") if event["step"] <= attempt.kept_step]
        kept = min(max(saved, default=attempt.begin) / _DAY, end) if attempt.lost_steps else end
        axes.barh(row, kept - begin, left=begin, height=0.5, color="#2f6fb5", alpha=0.55, linewidth=0)
        axes.barh(row, end - kept, left=kept, height=0.5, color="#b03a48", alpha=0.25, linewidth=0)
        for kind, (marker, hue, name, size) in _MARKS.items():
            at = [event["at"] / _DAY for event in attempt.of(kind)]
            if at:
                legend[name] = axes.plot(at, [row] * len(at), marker, color=hue, ms=size * small, mew=1.4 * small)[0]
        marker, hue, name = _ENDS[attempt.ending]
        legend[name] = axes.plot([end], [row], marker, color=hue, ms=7 * small, mec="w", mew=0.8 * small, zorder=5)[0]
    _frame(axes, past)
    axes.figure.legend(legend.values(), legend, loc="outside lower center", ncols=4, handletextpad=0.3)


def _frame(axes: Axes, past: History) -> None:
    """Set up the axes: time on the x axis, attempt numbers on the y axis with the first at the top."""
    first = min(attempt.begin for attempt in past.attempts) / _DAY
    last = max(attempt.last for attempt in past.attempts) / _DAY
    margin = max(0.02 * (last - first), 5 / _DAY)
    axes.set_xlim(first - margin, last + margin)
    axes.set_ylim(past.attempts[-1].number + 0.6, past.attempts[0].number - 0.6)
    every = 1 + len(past.attempts) // 30
    axes.set_yticks([a.number for a in past.attempts if a.number % every == 0 or every == 1])
    axes.set_ylabel("attempt")
    locator = AutoDateLocator(tz=UTC, minticks=3, maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))
    axes.set_xlabel("UTC")
    axes.grid(True, axis="x", color=GRID)
    axes.tick_params(axis="y", length=0)
