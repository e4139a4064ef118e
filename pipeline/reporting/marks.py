"""Marks in the picture of the masked-token loss: the floors of a run, and the reference curve of its recipe."""

from collections.abc import Sequence
from typing import Any

from pipeline.reporting.reference import shipped
from pipeline.runlog.floors import floors_event, floors_of
from pipeline.runlog.reader import Run
from pipeline.runlog.terms import masked_term

CAPTION = (
    "Dashed: the loss of a predictor that knows the frequencies of words (unigram floor), and of one that also knows "
    "the sample's other words without their order (context floor)."
)
REFERENCE_CAPTION = "Thin: the reference curve of the recipe."
SHIFTED_CAPTION = (
    "Thin: the reference curve of the recipe, moved by the difference of the unigram floors: its samples differ."
)


def is_marked(run: Run, key: str) -> bool:
    """Whether the figure `key` is the loss that the floors of a run are about."""
    term = masked_term(run.terms)
    return term is not None and key == f"{term.name}_loss"


def caption(runs: Sequence[Run], key: str) -> str:
    """Explanation of the marks that are drawn; empty if there are none."""
    marked = [run for run in runs if is_marked(run, key)]
    parts = [CAPTION] if any(floors_of(run.events) for run in marked) else []
    shifts = {shift for run in marked if (shift := reference_shift(run)) is not None}
    parts += [REFERENCE_CAPTION] if shifts == {0.0} else [SHIFTED_CAPTION] if shifts else []
    return " ".join(parts)


def reference_shift(run: Run) -> float | None:
    """Nats by which the reference curve is moved: 0 for the same samples; None if it cannot be compared."""
    reference, floors = shipped(run.recipe.get("name")), floors_of(run.events)
    return None if reference is None else reference.shift(floors, (floors_event(run.events) or {}).get("samples"))


def draw(axes: Any, run: Run, key: str, color: str) -> None:
    """Draw the marks of a run into the picture of the figure `key`; nothing if it has none there.

    Args:
        axes: matplotlib's.
        run: the run.
        key: name of the figure, such as "mlm_loss".
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
        points = [(point.step, point.loss + moved) for point in reference.heldout]
        axes.plot(*zip(*points, strict=True), color="#1c2430", linewidth=0.7)
