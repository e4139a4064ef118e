"""Picture of a plan: memory by part and stage, and time and cost by number of GPUs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from pipeline.planning.choice import Choice, Phase
from pipeline.planning.memory import PARTS
from pipeline.planning.options import STAGES, Options
from pipeline.planning.text import Row, chosen_at
from pipeline.runtime.formatting import GIB

COLORS = ["#8c8c8c", "#1f5a94", "#4a8fcb", "#a3cbec", "#7a5230", "#2f8f5b", "#8fd0a5"]
COLORS += ["#6b4fa0", "#f2a63b", "#d9682b", "#f7dca8", "#dddddd"]
"""Colors in the order of PARTS."""


def write_picture(phases: Sequence[Phase], table: Sequence[list[Row]], options: Options, out: Path) -> None:
    """Write the picture, which has two panels.

    Args:
        phases: phases of the training; memory is shown for the last one, which has the longest samples.
        table: rows of each phase, one for each number of GPUs.
        options: assumptions of the plan; without a price, GPU-hours are shown instead of costs.
        out: PNG file.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5.2), layout="constrained")
    _memory(left, phases[-1], chosen_at(table[-1], options.gpus)[0], options)
    _time(right, table, options)
    figure.savefig(out, dpi=120)
    plt.close(figure)


def _memory(axis: Any, phase: Phase, choice: Choice, options: Options) -> None:
    """Plot memory by stage as stacked bars, for the recommended micro-batch."""
    device, gpus = options.device, options.gpus
    needs = [phase.memory(gpus, stage, choice.micro_batch, choice.checkpointing).parts for stage in STAGES]
    bottom = [0.0] * len(STAGES)
    for part, color in zip(PARTS, COLORS, strict=True):
        sizes = [need[part] / GIB for need in needs]
        if any(sizes):
            axis.bar(STAGES, sizes, 0.62, bottom=bottom, label=part, color=color)
            bottom = [low + size for low, size in zip(bottom, sizes, strict=True)]
    for stage, top in zip(STAGES, bottom, strict=True):
        axis.text(stage, top, f"{top:.1f}", ha="center", va="bottom", fontsize=9)
    axis.axhline(device.memory_gib, color="firebrick", linestyle="--", linewidth=1.3)
    axis.text(-0.45, device.memory_gib, f"{device.name}: {device.memory_gib:g} GiB", color="firebrick", va="bottom")
    axis.set_ylim(0, 1.42 * max(*bottom, device.memory_gib))
    axis.set_xlim(-0.5, 3.5)
    axis.set_xticks(STAGES, [f"ZeRO-{stage}" + (" *" if stage == choice.stage else "") for stage in STAGES])
    axis.set_ylabel("peak GiB on each GPU")
    recomputed = ", activation checkpointing" if choice.checkpointing else ""
    axis.set_title(
        f"{phase.name}, {gpus} GPUs, micro-batch {choice.micro_batch} x {phase.samples.seq_length} tokens{recomputed}"
        "\n* recommended",
        fontsize=10,
    )
    axis.legend(fontsize=9, ncols=4, loc="upper center")
    axis.grid(axis="y", alpha=0.3)


def _time(axis: Any, table: Sequence[list[Row]], options: Options) -> None:
    """Plot time and cost on logarithmic axes, with the time at perfect scaling."""
    points, price = [], options.price
    for rows in zip(*table, strict=True):
        times = [time.seconds for _, _, time in rows if time]
        if len(times) == len(rows):
            points.append((rows[0][0], sum(times) / 3600))
    gpus, hours = zip(*points, strict=True)
    axis.loglog(gpus, hours, "o-", color="C0", label="time to train")
    axis.loglog(gpus, [hours[0] * gpus[0] / n for n in gpus], ":", color="C0", label="with perfect scaling")
    axis.set_ylabel("hours", color="C0")
    other = axis.twinx()
    spent = [n * hour * (price or 1) for n, hour in points]
    other.loglog(gpus, spent, "s--", color="C3", label="cost" if price else "GPU-hours")
    other.set_ylabel(f"cost at {price:g} per GPU-hour" if price else "GPU-hours", color="C3")
    other.set_ylim(min(spent) / 3, max(spent) * 3)
    for side in (axis.yaxis, other.yaxis, axis.xaxis):
        side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        side.set_minor_formatter(NullFormatter())
    other.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_xticks(gpus, [f"{n:,}" for n in gpus], rotation=30)
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlabel(f"number of GPUs ({options.device.name})")
    handles = [line for side in (axis, other) for line in side.get_lines()]
    axis.legend(handles, [line.get_label() for line in handles], fontsize=9, loc="upper center")
    axis.set_title("Time and " + ("cost" if price else "GPU-hours") + ", all phases", fontsize=10)
    axis.grid(alpha=0.3)
