"""Writer and reader of the `schedules.json` of a run, the planned values of its schedules from first to last step.

    [{"key": "learning_rate", "title": "Learning rate", "unit": "", "steps": [1, 15, ...], "values": [5e-05, ...]}]

A report plots these values without evaluating the recipe.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from preprocessing.files import write_json

SCHEDULES = "schedules.json"
MOST_POINTS = 500
"""Largest number of steps at which a schedule is recorded; the steps are evenly spaced."""


@dataclass(frozen=True)
class Schedule:
    """A value that is a function of the step."""

    key: str
    """Identifier: name of the value in the metrics of training, if they contain it, and of the file of its plot."""
    title: str
    unit: str
    value: Callable[[int], float]
    """Function of the optimizer step, from 1."""


@dataclass(frozen=True)
class Planned:
    """The values of a schedule at some steps of a run; the fields are as in `Schedule`."""

    key: str
    title: str
    unit: str
    steps: list[int]
    values: list[float]


def write_schedules(run: Path, total_steps: int, schedules: Sequence[Schedule]) -> None:
    """Write the values of the schedules at up to MOST_POINTS steps, including the first and the last."""
    last = min(total_steps, MOST_POINTS) - 1
    steps = [1 + number * (total_steps - 1) // max(1, last) for number in range(last + 1)]
    planned = [
        Planned(each.key, each.title, each.unit, steps, [each.value(step) for step in steps]) for each in schedules
    ]
    write_json(run / SCHEDULES, [asdict(each) for each in planned])


def read_schedules(run: Path) -> list[Planned]:
    """The readable schedules of a run; damaged ones are skipped, and a run without the file has none."""
    try:
        found = json.loads((run / SCHEDULES).read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    return [Planned(**each) for each in found if _is_planned(each)] if isinstance(found, list) else []


def _is_planned(value: Any) -> bool:
    if not isinstance(value, dict) or value.keys() != {"key", "title", "unit", "steps", "values"}:
        return False
    texts, series = [value[name] for name in ("key", "title", "unit")], [value["steps"], value["values"]]
    return (
        all(isinstance(text, str) for text in texts)
        and value["key"].isidentifier()  # the file of its plot is named after it
        and all(isinstance(numbers, list) for numbers in series)
        and len(series[0]) == len(series[1]) > 0
        and all(type(number) in (int, float) and math.isfinite(number) for numbers in series for number in numbers)
    )
