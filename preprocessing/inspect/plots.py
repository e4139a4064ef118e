"""Plots of a samples directory as SVG elements that use the colours of the page, light or dark.

Text is stored as text, and each colour is a variable of the page's style sheet. Plots contain no text of the data,
because matplotlib reads dollar signs as mathematics and has no glyphs for most scripts.
"""

import io
import re
from collections.abc import Callable
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from preprocessing.inspect.facts import length_bins
from preprocessing.inspect.figures import SamplesFigures, SplitFigures

_VARIABLES = {"#010101": "ink", "#020202": "muted", "#030303": "line", "#040404": "train", "#050505": "heldout"}
"""Placeholder colours for matplotlib, and the CSS variables that replace them."""
_INK, _MUTED, _LINE, _TRAIN, _HELDOUT = _VARIABLES
_COLORS = {"train": _TRAIN, "heldout": _HELDOUT}
_NAMES = {"train": "training", "heldout": "held out"}
_BINS = 32
_METADATA = ("Creator", "Date", "Format", "Type")
"""Metadata that matplotlib would write; the date would differ from run to run."""
_COUNT = FuncFormatter(lambda value, _: f"{value:,.0f}")
_PERCENT = FuncFormatter(lambda value, _: f"{value * 100:.10f}".rstrip("0").rstrip(".") + "%")
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _LINE,
    "grid.linewidth": 0.6,
    "xtick.color": _LINE,
    "ytick.color": _LINE,
    "xtick.labelcolor": _MUTED,
    "ytick.labelcolor": _MUTED,
    "legend.frameon": False,
    "figure.figsize": (4.7, 3.1),
    "figure.constrained_layout.use": True,
}


def lengths(figures: SamplesFigures) -> str:
    """Histogram of the lengths of the samples of each split."""
    longest = figures.manifest.max_seq_length - figures.kind.num_special_tokens

    def plot(axes: Axes) -> None:
        for split in figures.filled:
            bins = length_bins(split.counts.lengths, longest, _BINS)
            edges = [0, *(bin_.last for bin_ in bins)]
            _stairs(axes, np.array([bin_.share for bin_ in bins]), np.array(edges), split)
        axes.set_xlabel("text tokens of a sample")
        axes.set_ylabel("share of the samples")
        axes.set_yscale("log")  # The last bin may contain nearly all samples.
        axes.xaxis.set_major_formatter(_COUNT)
        axes.yaxis.set_major_formatter(_PERCENT)

    return _svg(plot, f"Histogram of sample lengths, up to {longest:,} text tokens", figures.directory.name)


def openings(figures: SamplesFigures) -> str:
    """Histogram of the share of A in the tokens of a pair."""

    def plot(axes: Axes) -> None:
        for split in figures.filled:
            if split.counts.pairs:
                shares = split.counts.a_shares
                _stairs(axes, shares / split.counts.pairs, np.linspace(0, 1, len(shares) + 1), split)
        axes.set_xlabel("share of A in the tokens of a pair")
        axes.set_ylabel("share of the pairs")
        axes.xaxis.set_major_formatter(_PERCENT)
        axes.yaxis.set_major_formatter(_PERCENT)

    return _svg(plot, "Histogram of where B begins", figures.directory.name)


def frequencies(figures: SamplesFigures) -> str:
    """Frequency of tokens by rank, which is about a straight line in natural language."""

    def plot(axes: Axes) -> None:
        for split in figures.filled:
            counts = np.sort(split.counts.tokens[split.counts.tokens > 0])[::-1]  # (U,)
            ranks = np.unique(np.geomspace(1, len(counts), 200).astype(int))  # About one point per pixel.
            shares = counts[ranks - 1] / split.tokens
            axes.loglog(ranks, shares, color=_COLORS[split.name], label=_NAMES[split.name])
        axes.set_xlabel("rank of the token, most frequent first")
        axes.set_ylabel("share of all tokens")
        axes.xaxis.set_major_formatter(_COUNT)
        axes.yaxis.set_major_formatter(_PERCENT)
        axes.legend()

    return _svg(plot, "Frequency of tokens by rank", figures.directory.name)


def _stairs(axes: Axes, shares: np.ndarray, edges: np.ndarray, split: SplitFigures) -> None:
    """Draws a histogram: training as a filled area, held out as a line."""
    color, is_train = _COLORS[split.name], split.name == "train"
    alpha = 0.55 if is_train else 1
    axes.stairs(shares, edges, fill=is_train, color=color, label=_NAMES[split.name], linewidth=1.6, alpha=alpha)
    axes.set_xlim(edges[0], edges[-1])
    axes.legend(loc="upper left")


def _svg(plot: Callable[[Axes], None], title: str, name: str) -> str:
    """The output of `plot` as an `svg` element with an accessible title.

    Its ids depend on title and name only; by default matplotlib chooses them at random.
    """
    with plt.rc_context({**_STYLE, "svg.hashsalt": f"{title}, {name}"}):
        figure, axes = plt.subplots()
        plot(axes)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata=dict.fromkeys(_METADATA))
        plt.close(figure)
    text = file.getvalue()
    text = re.sub(r' id="[a-z0-9.]+_\d+"', "", text[text.index("<svg") :])  # Ids that all plots share.
    text = text.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)
    for color, variable in _VARIABLES.items():
        text = text.replace(color, f"var(--{variable})")
    return text
