"""Style of the figures of runs, and the steps that all of them share.

Each figure has one panel, small enough for the screen of a phone, with a title and a caption. The mathematical notation
of Matplotlib is disabled, so that dollar signs in the names of runs are drawn literally.
"""

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pipeline.runtime.formatting import printable

COLORS = ("#2f6fb5", "#d2691e", "#2e8b57", "#8a4fb0", "#b03a48", "#7a6a2f", "#3aa0a8", "#d17ba5", "#5d6878", "#1c2430")
"""Colours of the runs, in their order; lines from the eleventh run on are dashed."""
INK, MUTED, GRID = "#1c2430", "#5d6878", "#d9dee6"
STYLE: dict[Any, Any] = {
    "text.parse_math": False,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.constrained_layout.use": True,
}
SIZE = (5.2, 3.1)
_DPI = 180


@dataclass(frozen=True)
class Picture:
    """A figure of a page, which can also be saved as a file."""

    slug: str
    """Name of the file, without its suffix."""
    title: str
    """Title, which is shortened in the figure if necessary."""
    caption: str
    """Explanation of lines and markers, and how to interpret them."""
    png: bytes
    """The figure as PNG."""


def color(number: int) -> dict[str, Any]:
    """Colour and line style of the run with this index, as arguments of Matplotlib."""
    return {"color": COLORS[number % len(COLORS)], "linestyle": "-" if number < len(COLORS) else "--"}


def label(name: str, longest: int = 30) -> str:
    """The name of a run for a legend, with at most `longest` characters.

    A name that begins with an underscore gets a space before it, because Matplotlib omits it from legends otherwise.
    """
    name = printable(name).encode("utf-8", "replace").decode()
    name = name if len(name) <= longest else f"{name[: longest // 2 - 1]}…{name[-longest // 2 :]}"
    return f" {name}" if name.startswith("_") else name


def paint(plot: Callable[[Axes], None], title: str, size: tuple[float, float] = SIZE) -> bytes:
    """The PNG of a figure with a title that `plot` draws; the size is in inches."""
    with plt.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing")  # names may have characters that the font lacks
        figure, axes = plt.subplots(figsize=size)
        plot(axes)
        axes.set_title(label(title, longest=int(size[0] * 9.5)))
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=_DPI)
        plt.close(figure)
    return file.getvalue()


def frame(axes: Axes, unit: str = "") -> None:
    """Set up the axes: a grid, optimizer steps on the x axis, and `unit` as the label of the y axis."""
    axes.grid(True)
    axes.set_xlabel("optimizer step")
    axes.set_ylabel(unit)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
