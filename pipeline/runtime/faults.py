"""Fault injection for tests and `benchmarks.soak`: a run can be made to fail at each of `POINTS`.

`PIPELINE_FAULT="ACTION:POINT:RANK:NTH"` makes rank RANK, or every rank where it is `*`, do ACTION when it reaches POINT
for the NTH time, counted from 1. Without the variable, `reach` does nothing.
"""

import os
from collections import Counter

from preprocessing.faults import act

POINTS = (
    "starting",
    "metrics trimmed",
    "held-out batch",
    "step begun",
    "gradients added up",
    "step done",
    "checkpoint begun",
    "tensors copied",
    "tensors written",
    "state written",
    "manifest written",
    "checkpoint renamed",
    "checkpoints pruned",
)
"""Names of the points, in the order in which a run reaches them."""

_reached: Counter[str] = Counter()


def reach(point: str) -> None:
    """Count that `point` is reached, and perform the action that PIPELINE_FAULT requests there.

    The actions are those of `preprocessing.faults.act`.

    Raises:
        ValueError: PIPELINE_FAULT names an unknown point or action.
    """
    wanted = os.environ.get("PIPELINE_FAULT")
    if wanted is None:
        return
    action, place, rank, nth = wanted.split(":")
    if place not in POINTS:
        raise ValueError(f"PIPELINE_FAULT = {wanted}: no point is called {place!r}; there are {', '.join(POINTS)}")
    _reached[point] += 1
    if (place, int(nth)) == (point, _reached[point]) and rank in ("*", os.environ.get("RANK", "0")):
        act(action, f"PIPELINE_FAULT = {wanted}")
