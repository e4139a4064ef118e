"""Reference curves, which are the held-out losses of a finished run of a recipe, with which other runs are compared.

The package contains `pipeline/recipes/curves/NAME.json` for some recipes NAME. The command
`python -m pipeline.report RUN --reference FILE` writes a reference curve.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from pipeline.runlog.floors import Floors, floors_event, floors_of
from pipeline.runlog.reader import Run, is_number
from pipeline.runlog.terms import masked_term
from pipeline.runtime.recipes import SHIPPED
from preprocessing.files import write_text

CURVES = SHIPPED / "curves"


@dataclass(frozen=True)
class Point:
    """An evaluation on held-out samples."""

    step: int
    loss: float
    """Held-out masked-token loss, in nats."""
    accuracy: float
    """Held-out masked-token accuracy, from 0 to 1."""


@dataclass(frozen=True)
class Reference:
    """The held-out curve of a run of a recipe, and how it was obtained."""

    recipe: str
    """Name of the recipe."""
    date: str
    """Date on which the run finished, UTC, as YYYY-MM-DD."""
    processor: str
    """Name of the processor, number of ranks, and the precision."""
    corpus: str
    """Description of the samples."""
    samples: str
    """SHA-256 of the manifest of the samples; runs with the same hash have the same held-out tokens."""
    total_steps: int
    """Number of steps of the run."""
    floors: Floors
    """The floors of the run."""
    heldout: Sequence[Point]
    """The evaluations of the run, in the order of their steps."""

    def loss_at(self, step: int) -> float | None:
        """The loss at a step in nats, by linear interpolation; None before the first and after the last evaluation."""
        for a, b in pairwise(self.heldout):
            if a.step <= step <= b.step:
                return a.loss + (b.loss - a.loss) * (step - a.step) / (b.step - a.step)
        return None

    def stretched(self, total_steps: int | None) -> "Reference":
        """The curve of a run of another number of steps, if every loss belongs to a share of the run.

        Schedules are functions of that share, so that learning rates at equal steps of runs of two lengths differ.

        Args:
            total_steps: number of steps of the other run; None or 0: unknown, and the curve is returned unchanged.
        """
        if not total_steps or total_steps == self.total_steps:
            return self
        points = [replace(point, step=round(point.step * total_steps / self.total_steps)) for point in self.heldout]
        return replace(self, total_steps=total_steps, heldout=points)

    def shift(self, floors: Floors | None, samples: object) -> float | None:
        """Shift of the curve in nats that makes it comparable with another run; None if they cannot be compared.

        The shift is 0 for the same samples. For other samples it is the difference of the unigram floors, which
        accounts for the difficulty of the text and the size of the vocabulary.

        Args:
            floors: floors of the other run.
            samples: SHA-256 of the manifest of its samples.
        """
        if samples == self.samples:
            return 0.0
        return None if floors is None else floors.unigram - self.floors.unigram

    def to_json(self) -> str:
        """The curve as JSON, with one line for each evaluation."""
        values = asdict(self)
        points = ",\n".join(f"    {json.dumps(point)}" for point in values.pop("heldout"))
        return json.dumps(values, indent=2).removesuffix("\n}") + f',\n  "heldout": [\n{points}\n  ]\n}}\n'


def shipped(recipe: object, directory: Path = CURVES) -> Reference | None:
    """The reference curve of a recipe that is shipped with the package; None if there is none.

    Args:
        recipe: name of the recipe; a value that is not a string has no curve.
        directory: directory of the curves.

    Raises:
        ValueError: the file is not a reference curve.
    """
    found = {path.stem: path for path in directory.glob("*.json")}
    return read(found[recipe]) if isinstance(recipe, str) and recipe in found else None


def read(path: Path) -> Reference:
    """Read a reference curve.

    Raises:
        ValueError: the file is not a reference curve.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        floors, points = Floors(**values.pop("floors")), [Point(**point) for point in values.pop("heldout")]
        return Reference(**values, floors=floors, heldout=points)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{path}: not a reference curve ({error}); write one with python -m pipeline.report RUN --reference FILE"
        ) from None


def write(runs: Sequence[Run], path: Path) -> None:
    """Write the reference curve of a run.

    Args:
        runs: a single run.
        path: the file; its directory is created if necessary.

    Raises:
        ValueError: there are several runs, or as in `of_run`.
        OSError: the file cannot be written.
    """
    if len(runs) != 1:
        raise ValueError(f"--reference: needs a single run, {len(runs)} are given; give one")
    text = of_run(runs[0]).to_json()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)


def of_run(run: Run) -> Reference:
    """The reference curve of a finished run.

    Raises:
        ValueError: the run has not finished, or has no masked-token loss, no floors or no name of a recipe.
    """
    term, floors, event = masked_term(run.terms), floors_of(run.events), floors_event(run.events)
    name = run.recipe.get("name")
    if not run.events or run.events[-1]["kind"] != "finished":
        raise ValueError(f"--reference: {run.directory} has not finished; give a finished run")
    if term is None or floors is None or event is None or not isinstance(name, str) or not name:
        raise ValueError(
            f"--reference: {run.directory} has no floors or no name of its recipe; give a run of this version that was "
            "started with --recipe and has evaluations"
        )
    keys = f"{term.name}_loss", f"{term.name}_accuracy"
    points = [
        Point(line["step"], *(round(line[key], 4) for key in keys))
        for line in run.of("heldout")
        if all(is_number(line.get(key)) for key in keys)
    ]
    start = [each for each in run.events if each["kind"] == "start"][-1]
    return Reference(
        recipe=name,
        date=datetime.fromtimestamp(run.events[-1]["time"], UTC).strftime("%Y-%m-%d"),
        processor=_processor(start),
        corpus=str(event.get("corpus", "")),
        samples=str(event.get("samples", "")),
        total_steps=run.total_steps or run.last_step,
        floors=Floors(**{key: round(value, 4) for key, value in asdict(floors).items()}),
        heldout=points,
    )


def _processor(start: Mapping[str, Any]) -> str:
    name, ranks = start.get("processor", start.get("device", "unknown")), start.get("world_size", 1)
    return f"{name}, {ranks} {'ranks' if ranks != 1 else 'rank'}, {start.get('precision', 'unknown')}"
