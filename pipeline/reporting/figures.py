"""Figures of runs: overlaid curves of several runs, and the durations of checkpoints."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from pipeline.reporting import marks
from pipeline.reporting.drawing import MUTED, SIZE, Picture, color, frame, label, paint
from pipeline.runlog.attempts import History
from pipeline.runlog.reader import Run, is_number
from pipeline.runlog.schedules import Planned
from pipeline.runlog.terms import Term

_SMOOTH_FROM = 150
"""Number of points from which on a smoothed line is drawn as well."""


@dataclass(frozen=True)
class Curve:
    """A metric that one panel shows for every run."""

    key: str
    """Name of the metric in lines of kind "train" and "heldout"."""
    title: str
    caption: str
    scale: float = 1.0
    """Factor by which the values are multiplied."""
    unit: str = ""
    """Unit of the scaled values."""
    dotted: str = ""
    """Name of a second metric of training, which is drawn dotted; empty for none."""
    noisy: bool = True
    """Whether long curves are smoothed, and may have a logarithmic axis."""


METRIC = "A metric of the dev split of the task, after each epoch."
OVERFITTING = "A held-out loss far above that of training shows overfitting."
CURVES: Mapping[str, tuple[Curve, ...]] = {
    "loss": (Curve("loss", "Loss", "The weighted sum of all terms, which is minimised."),),
    "accuracy": (),
    "steps": (
        Curve("learning_rate", "Learning rate", "The dotted line is the planned schedule.", noisy=False),
        Curve("grad_norm", "Gradient norm", "The norm before clipping. Growing peaks often precede a divergence."),
    ),
    "speed": (
        Curve("tokens_per_second", "Throughput", "Tokens of all ranks, without padding.", 1e-3, "1000 tokens/s"),
        Curve(
            "mfu",
            "MFU",
            "Share of the peak rate. The dotted line counts every sample with the full length.",
            100,
            "%",
            "mfu_nominal",
        ),
        Curve(
            "loader_wait_share",
            "Waiting for data",
            "Share of the time that the slowest rank waits. It should be near 0.",
            100,
            "%",
        ),
        Curve(
            "peak_memory_gib",
            "Peak memory",
            "The largest memory of any rank up to the step.",
            unit="GiB",
            noisy=False,
        ),
    ),
}


def curves(runs: Sequence[Run], group: str) -> list[Picture]:
    """The figures of a group of `CURVES` for which any run has values, with those of the loss terms, of the metrics of
    tasks, and of schedules.
    """
    chosen = [*CURVES[group], *(_curve_of(term, group) for term in terms(runs) if group in ("loss", "accuracy"))]
    chosen += [Curve(name, name, METRIC) for name in metrics(runs) if group == "accuracy"]
    chosen = [replace(c, unit=_unit(runs)) if c.key == "loss" else c for c in chosen]
    chosen = [replace(c, caption=f"{c.caption} {marks.caption(runs, c.key)}".strip()) for c in chosen]
    chosen += [_order_gap(term) for term in terms(runs) if group == "loss"]
    planned = {each.key: each for run in runs for each in run.schedules}
    if group == "steps":
        new = planned.keys() - {curve.key for curve in chosen}
        chosen += [_curve_of_schedule(each) for each in planned.values() if each.key in new]
    there = [c for c in chosen if c.key in planned or _is_measured(runs, c.key)]
    size = _size(len(runs))
    return [Picture(c.key.replace("_", "-"), c.title, c.caption, paint(_curve(runs, c), c.title, size)) for c in there]


def terms(runs: Sequence[Run]) -> list[Term]:
    """The terms of the losses of all runs, without duplicates."""
    return list({term.name: term for run in runs for term in run.terms}.values())


def metrics(runs: Sequence[Run]) -> list[str]:
    """The names of the tasks' metrics of all runs, without duplicates."""
    return list(dict.fromkeys(name for run in runs for name in run.metrics))


def _unit(runs: Sequence[Run]) -> str:
    """The unit of the total loss; empty if its terms have different ones."""
    units = {term.unit for term in terms(runs)}
    return units.pop() if len(units) == 1 else ""


def _is_measured(runs: Sequence[Run], key: str) -> bool:
    return any(run.series(kind, key)[0] for run in runs for kind in ("train", "heldout"))


def _curve_of(term: Term, group: str) -> Curve:
    title, classes = f"{term.title.capitalize()} {group}", term.classes
    if group == "loss":
        guess = f"A random guess among {classes} classes has a loss of {math.log(classes):.3f}." if classes else ""
        return Curve(f"{term.name}_loss", title, guess or OVERFITTING, unit=term.unit)
    caption = f"A random guess among {classes} classes is correct in {100 / classes:.0f} % of cases." if classes else ""
    return Curve(f"{term.name}_accuracy", title, caption or "Share of correct predictions.", 100, "%")


def _order_gap(term: Term) -> Curve:
    caption = (
        "Loss with the visible words in random order, minus the loss in the original order. A gap near 0 shows that "
        "the model does not use word order."
    )
    return Curve(term.order_gap, f"Order gap of the {term.title} loss", caption, unit=term.unit)


def _curve_of_schedule(planned: Planned) -> Curve:
    return Curve(planned.key, planned.title, "The dotted line is the planned schedule.", unit=planned.unit, noisy=False)


def _size(names: int) -> tuple[float, float]:
    """Size in inches of a figure with this number of names in the legend below it."""
    return SIZE[0], SIZE[1] + 0.2 * math.ceil(names / 2) * (names > 1)


def _names(axes: Axes, runs: Sequence[Run], further: Sequence[Line2D] = ()) -> None:
    """Draw a legend with the names of the runs below the axes; a single run needs no name."""
    lines = [Line2D([], [], **color(number)) for number in range(len(runs))] if len(runs) > 1 else []
    handles = [*further, *lines]
    if handles:
        names = [*(str(line.get_label()) for line in further), *(label(run.name) for run in runs)]
        axes.figure.legend(handles, names[: len(handles)], loc="outside lower center", ncols=2)


def _curve(runs: Sequence[Run], curve: Curve) -> Callable[[Axes], None]:
    def plot(axes: Axes) -> None:
        seen = []
        for number, run in enumerate(runs):
            steps, values = run.series("train", curve.key)
            scaled = np.array(values) * curve.scale
            seen.append(_smoothed(scaled) if curve.noisy else scaled)
            if seen[-1] is not scaled:
                axes.plot(steps, scaled, **color(number), linewidth=0.6, alpha=0.3)
            axes.plot(steps, seen[-1], **color(number), linewidth=1.4)
            for planned in (each for each in run.schedules if each.key == curve.key):
                values = [value * curve.scale for value in planned.values]
                axes.plot(planned.steps, values, color=color(number)["color"], linestyle=":", linewidth=1)
                seen.append(np.array(values))
            if curve.dotted:
                steps, values = run.series("train", curve.dotted)
                smoothed = _smoothed(np.array(values) * curve.scale)
                axes.plot(steps, smoothed, color=color(number)["color"], linestyle=":", linewidth=1)
            steps, values = run.series("heldout", curve.key)
            marker = "o" if len(scaled) else "o-"  # a metric of evaluations only is drawn as a curve
            axes.plot(
                steps, np.array(values) * curve.scale, marker, color=color(number)["color"], ms=4, mec="w", mew=0.6
            )
            marks.draw(axes, run, curve.key, color(number)["color"])
        frame(axes, curve.unit)
        _span(axes, [value for part in seen for value in part], may_be_logarithmic=curve.noisy)
        _names(axes, runs)

    return plot


def _span(axes: Axes, values: Sequence[float], may_be_logarithmic: bool = True) -> None:
    """Choose a logarithmic y axis if most values span more than a factor of 100, and label it with plain numbers.

    A learning rate that decays to zero spans any factor, and its schedule is recognised on a linear axis only.
    """
    positive = [value for value in values if value > 0] if may_be_logarithmic else []
    if positive and len(positive) == len(values) and np.quantile(positive, 0.98) > 100 * np.quantile(positive, 0.02):
        axes.set_yscale("log")
        logarithmic(axes.yaxis, min(positive), max(positive))
        return
    if values and max(values) == min(values):
        axes.set_ylim(0, 2 * max(values) or 1)  # the default limits around a constant would magnify it
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))


def logarithmic(axis: Any, low: float, high: float) -> None:
    """Label a logarithmic axis with plain numbers, at 1, 2 and 5 of each decade if it spans less than two or so."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 200 * low else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    axis.set_minor_formatter(NullFormatter())


def _smoothed(values: np.ndarray) -> np.ndarray:
    """A moving average (N,) of values (N,) over a fiftieth of them, over fewer at the ends; short series are kept."""
    if len(values) < _SMOOTH_FROM:
        return values
    half = max(1, len(values) // 100)
    sums = np.concatenate([[0.0], np.cumsum(values)])  # (N + 1,)
    at = np.arange(len(values))
    low, high = np.maximum(at - half, 0), np.minimum(at + half + 1, len(values))
    means: np.ndarray = (sums[high] - sums[low]) / (high - low)
    return means


def checkpoints(runs: Sequence[Run], histories: Sequence[History]) -> list[Picture]:
    """A figure of the time until checkpoints are written and of the time that training waits for them, in seconds.

    The list is empty if no run has a checkpoint.
    """

    def plot(axes: Axes) -> None:
        seen: list[float] = []
        for number, past in enumerate(histories):
            looks: dict[str, Any] = color(number) | {"linestyle": ":", "linewidth": 0.8, "ms": 5}
            for key, marker in (("seconds", "o"), ("stall_seconds", "v")):
                found = [event for event in past.events("checkpoint") if is_number(event.get(key))]
                seconds = [max(0.0, event[key]) for event in found]
                face = "w" if marker == "v" else looks["color"]
                steps = [event["step"] for event in found]
                axes.plot(steps, seconds, marker=marker, mfc=face, **looks)
                seen += seconds
        frame(axes, "seconds")
        _span(axes, seen)
        if axes.get_yscale() == "linear":
            axes.set_ylim(bottom=0)
        looks = {"linestyle": "", "color": MUTED, "ms": 5}
        whole = Line2D([], [], marker="o", label="until written", **looks)
        _names(axes, runs, [whole, Line2D([], [], marker="v", mfc="w", label="training waits", **looks)])

    if not any(past.events("checkpoint") for past in histories):
        return []
    size = _size(2 + len(runs) * (len(runs) > 1))
    caption = "Training should wait for a small part of the time only; the rest is written while training continues."
    return [Picture("checkpoints", "Checkpoints", caption, paint(plot, "Checkpoints", size))]


def _panels(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Keys and titles of the metrics that `save_curves` draws."""
    of_terms = []
    for term in terms(runs):
        of_terms += [(f"{term.name}_loss", f"{term.title} loss ({term.unit})")]
        of_terms += [(f"{term.name}_accuracy", f"{term.title} accuracy")] if term.counted else []
    found = [(key, title) for key, title in of_terms if _is_measured(runs, key)]
    if not found:  # a fine-tuning writes its only loss as the total
        unit = _unit(runs)
        found = [("loss", f"loss ({unit})" if unit else "loss")]
    further = (*((name, name) for name in metrics(runs)), ("learning_rate", "learning rate"))
    further = (*further, ("tokens_per_second", "tokens/s, all ranks"))
    return found + [(key, title) for key, title in further if _is_measured(runs, key)]


def save_curves(runs: Sequence[Run], out: Path) -> None:
    """Save one figure with the losses and accuracies of all terms, the metrics of tasks, learning rate and throughput,
    for a README.

    Held-out metrics are drawn with dots. A metric without values has no panel.

    Raises:
        OSError: the file cannot be written.
    """
    panels = _panels(runs)
    with plt.rc_context({"text.parse_math": False}):
        rows = math.ceil(len(panels) / 2)
        figure, axes = plt.subplots(rows, 2, figsize=(11, 1 + 3 * rows), sharex=True, layout="constrained")
        for axis in axes.flat[len(panels) :]:
            axis.set_axis_off()
        for axis, (key, title) in zip(axes.flat, panels, strict=False):
            for number, run in enumerate(runs):
                for kind, style in (("train", {"linewidth": 1.0}), ("heldout", {"marker": "o", "linestyle": "--"})):
                    points = run.series(kind, key)
                    if points[0]:
                        legend = f"{label(run.name)}, {'training' if kind == 'train' else 'held out'}"
                        axis.plot(*points, color=f"C{number}", label=legend, **style)
            axis.set_title(title, fontsize=10)
            axis.grid(alpha=0.3)
        explained: set[str] = set()
        for axis in axes.flat:  # a panel needs a legend for lines that none before it has
            if not explained.issuperset(names := axis.get_legend_handles_labels()[1]):
                axis.legend(fontsize=8)
                explained.update(names)
        for axis in axes[-1]:
            axis.set_xlabel("optimizer step")
        figure.savefig(out, dpi=110)
        plt.close(figure)
