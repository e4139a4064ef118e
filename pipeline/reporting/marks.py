"""Floors of a run and reference curve of its recipe, as additional lines in the figure of the masked-token loss."""

from collections.abc import Sequence
from typing import Any

from pipeline.reporting.reference import shipped
from pipeline.runlog.floors import floors_event, floors_of
from pipeline.runlog.reader import Run
from pipeline.runlog.terms import masked_term

CAPTION = (
    "The dashed lines are the losses of a predictor that uses the frequencies of words (unigram floor), and of one "
    "that also uses the other words of the sample without their order (context floor)."
)
REFERENCE_CAPTION = "The thin line is the reference curve of the recipe."
SHIFTED_CAPTION = (
    "The thin line is the reference curve of the recipe, shifted by the difference of the unigram floors because its "
    "samples differ."
)
STRETCHED_CAPTION = "Its steps are scaled to the number of steps of the run."


def is_marked(run: Run, key: str) -> bool:
    """Whether the metric `key` is the loss to which the floors of a run refer."""
    term = masked_term(run.terms)
    return term is not None and key == f"{term.name}_loss"


def caption(runs: Sequence[Run], key: str) -> str:
    """Explanation of the lines that `draw` adds; empty if there are none."""
    marked = [run for run in runs if is_marked(run, key)]
    parts = [CAPTION] if any(floors_of(run.events) for run in marked) else []
    shifts = {shift for run in marked if (shift := reference_shift(run)) is not None}
    parts += [REFERENCE_CAPTION] if shifts == {0.0} else [SHIFTED_CAPTION] if shifts else []
    curves = [(run, shipped(run.recipe.get("name"))) for run in marked]
    if shifts and any(curve is not None and curve.stretched(run.total_steps) is not curve for run, curve in curves):
        parts.append(STRETCHED_CAPTION)
    return " ".join(parts)


def reference_shift(run: Run) -> float | None:
    """Shift of the reference curve in nats, which is 0 for the same samples; None if it cannot be compared."""
    reference, floors = shipped(run.recipe.get("name")), floors_of(run.events)
    return None if reference is None else reference.shift(floors, (floors_event(run.events) or {}).get("samples"))


def draw(axes: Any, run: Run, key: str, color: str) -> None:
    """Draw floors and reference curve of a run into the figure of the metric `key`, if it is the masked-token loss.

    Args:
        axes: axes of Matplotlib.
        run: the run.
        key: name of the metric, such as "mlm_loss".
        color: colour of the run.
    """
    floors, moved = floors_of(run.events), reference_shift(run)
    if not is_marked(run, key):
        return
    for name, value in (("unigram floor", floors.unigram), ("context floor", floors.context)) if floors else ():
        axes.axhline(value, color=color, linestyle="--", linewidth=0.8, alpha=0.7)
        place = {"xy": (0.01, value), "xycoords": ("axes fraction", "data"), "va": "bottom"}
        axes.annotate(name, fontsize=7, color=color, **place)
    reference = shipped(run.recipe.get("name"))
    if reference is not None and moved is not None:
        points = [(point.step, point.loss + moved) for point in reference.stretched(run.total_steps).heldout]
        axes.plot(*zip(*points, strict=True), color="#1c2430", linewidth=0.7)
