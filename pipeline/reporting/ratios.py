"""Figures of the trust ratios of LAMB: a heat map by layer, and the distribution over all tensors."""

import re
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm

from pipeline.reporting.drawing import COLORS, GRID, SIZE, Picture, frame, paint
from pipeline.reporting.figures import logarithmic
from pipeline.runlog.reader import Line, Run, is_number

_COLUMNS = 400
"""Largest number of steps that a figure shows."""
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")


def layer(name: str) -> tuple[int, str]:
    """Row of a tensor in the heat map, as (sort key, label); embeddings come first, then the layers, then the heads."""
    found = _LAYER.search(name)
    if found:
        return int(found[1]), f"layer {found[1]}"
    if "embeddings" in name:
        return -1, "embeddings"
    return 10**6, name.removeprefix("encoder.").split(".")[0].replace("_", " ")


def trust_ratios(run: Run, number: int, among: int) -> list[Picture]:
    """The figures of a run: the medians by layer, and the distribution over all tensors; empty without trust ratios.

    Args:
        run: the run.
        number: index of the run on the page, from 0, which determines its colour.
        among: number of runs on the page.
    """
    steps, ratios = [], []
    for line in run.of("trust_ratio"):
        kept = ratios_of(line)
        if kept:
            steps.append(line["step"])
            ratios.append(kept)
    if not steps:
        return []
    thin = np.unique(np.linspace(0, len(steps) - 1, _COLUMNS).round().astype(int))
    steps, ratios = [steps[i] for i in thin], [ratios[i] for i in thin]
    slug, of = (f"-{number + 1}", f", {run.name}") if among > 1 else ("", "")
    height = 1.3 + 0.16 * max(9, len({layer(name) for line in ratios for name in line}))
    map_title, spread_title = f"Trust ratio by layer{of}", f"Trust ratio, all tensors{of}"
    map_caption = (
        "Median over the tensors of a layer. A row unlike the others is a layer that learns too fast or not at all."
    )
    caption = "The line is the median, the dark area the 10th to 90th percentile, the light area the whole range."
    heat_map = paint(_heat_map(steps, ratios), map_title, (SIZE[0], height))
    spread = paint(_spread(steps, ratios, COLORS[number % len(COLORS)]), spread_title)
    return [
        Picture(f"trust-ratio-layers{slug}", map_title, map_caption, heat_map),
        Picture(f"trust-ratio-spread{slug}", spread_title, caption, spread),
    ]


def ratios_of(line: Line) -> dict[str, float]:
    """The trust ratios of a line by tensor name; only positive, finite ones, which a logarithmic axis can show."""
    ratios = line.get("ratios")
    return {n: r for n, r in ratios.items() if is_number(r) and r > 0} if isinstance(ratios, dict) else {}


def _heat_map(steps: Sequence[int], ratios: Sequence[dict[str, float]]) -> Callable[[Axes], None]:
    rows = sorted({layer(name) for line in ratios for name in line})
    table = np.full((len(rows), len(steps)), np.nan)  # (layers, steps)
    for column, line in enumerate(ratios):
        by_row: dict[tuple[int, str], list[float]] = {}
        for name, ratio in line.items():
            by_row.setdefault(layer(name), []).append(ratio)
        for row, values in by_row.items():
            table[rows.index(row), column] = np.median(values)

    def plot(axes: Axes) -> None:
        low, high = np.nanmin(table), np.nanmax(table)
        low, high = (low, high) if high > low else (low / 2, high * 2)
        middle = [(a + b) / 2 for a, b in pairwise(steps)]
        edges = [*(steps[:1] if middle else [steps[0] - 0.5]), *middle, steps[-1] if middle else steps[0] + 0.5]
        mesh = axes.pcolormesh(
            edges, np.arange(len(rows) + 1) - 0.5, np.ma.masked_invalid(table), norm=LogNorm(low, high), cmap="viridis"
        )
        axes.set_facecolor(GRID)
        axes.invert_yaxis()
        axes.set_yticks(range(len(rows)), [name for _, name in rows], fontsize=7)
        axes.tick_params(length=0)
        frame(axes)
        axes.grid(False)
        bar = axes.figure.colorbar(mesh, ax=axes, pad=0.02, aspect=30)
        logarithmic(bar.ax.yaxis, low, high)

    return plot


def _spread(steps: Sequence[int], ratios: Sequence[dict[str, float]], hue: str) -> Callable[[Axes], None]:
    shares = np.array([np.quantile(list(line.values()), (0, 0.1, 0.5, 0.9, 1)) for line in ratios]).T  # (5, steps)

    def plot(axes: Axes) -> None:
        axes.fill_between(steps, shares[0], shares[4], color=hue, alpha=0.15, linewidth=0)
        axes.fill_between(steps, shares[1], shares[3], color=hue, alpha=0.3, linewidth=0)
        axes.plot(steps, shares[2], color=hue, linewidth=1.6, marker="o" if len(steps) == 1 else "")
        frame(axes)
        axes.set_yscale("log")
        logarithmic(axes.yaxis, shares[0].min(), shares[4].max())

    return plot
