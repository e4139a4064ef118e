"""Reference curves: the held-out losses of a finished run of a recipe, to compare other runs with.

Those that come with the package are `pipeline/recipes/curves/NAME.json`, for the recipe NAME. The command
`python -m pipeline.report RUN --reference FILE` writes one.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
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
    """One evaluation."""

    step: int
    loss: float
    """Held-out masked-token loss, in nats."""
    accuracy: float


@dataclass(frozen=True)
class Reference:
    """The held-out curve of a recipe, and the circumstances of its run."""

    recipe: str
    """Name of the recipe."""
    date: str
    """Day of the run's end, UTC, as YYYY-MM-DD."""
    processor: str
    """Number and type of its devices, and the precision."""
    corpus: str
    """Description of its samples."""
    samples: str
    """SHA-256 of the samples' manifest: runs with the same one have the same held-out tokens."""
    total_steps: int
    """Number of steps of the run."""
    floors: Floors
    heldout: Sequence[Point]
    """Its evaluations, in the order of their steps."""

    def loss_at(self, step: int) -> float | None:
        """The loss at a step, interpolated linearly; None before the first evaluation and after the last."""
        for a, b in pairwise(self.heldout):
            if a.step <= step <= b.step:
                return a.loss + (b.loss - a.loss) * (step - a.step) / (b.step - a.step)
        return None

    def shift(self, floors: Floors | None, samples: object) -> float | None:
        """What is added to the losses of the curve to compare them with a run's; None if they cannot be compared.

        On the same samples they are comparable as they are. On others the difference of the unigram floors is added,
        which tells how hard the text and how large the vocabulary are.

        Args:
            floors: of the run.
            samples: SHA-256 of the manifest of the run's samples.
        """
        if samples == self.samples:
            return 0.0
        return None if floors is None else floors.unigram - self.floors.unigram

    def to_json(self) -> str:
        """The curve as text; a line for each evaluation."""
        values = asdict(self)
        points = ",\n".join(f"    {json.dumps(point)}" for point in values.pop("heldout"))
        return json.dumps(values, indent=2).removesuffix("\n}") + f',\n  "heldout": [\n{points}\n  ]\n}}\n'


def shipped(recipe: object, directory: Path = CURVES) -> Reference | None:
    """The reference curve that comes with the package for the recipe of a name; None if there is none.

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
    """Write the curve of the only run of `runs` as a reference curve.

    Raises:
        ValueError: there are several runs; or as `of_run`.
        OSError: the file cannot be written.
    """
    if len(runs) != 1:
        raise ValueError(f"--reference is made of one run, {len(runs)} are given; give one")
    text = of_run(runs[0]).to_json()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)


def of_run(run: Run) -> Reference:
    """The curve of a finished run.

    Raises:
        ValueError: the run has not finished, or has no evaluations, floors or recipe's name.
    """
    term, floors, event = masked_term(run.terms), floors_of(run.events), floors_event(run.events)
    name = run.recipe.get("name")
    if not run.events or run.events[-1]["kind"] != "finished":
        raise ValueError(f"--reference: {run.directory} has not finished; give a run that has")
    if term is None or floors is None or event is None or not isinstance(name, str) or not name:
        raise ValueError(
            f"--reference: {run.directory} lacks floors or the name of its recipe; give a run of this version that was "
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
    return f"{start.get('world_size', 1)} x {start.get('device', 'unknown')}, {start.get('precision', 'unknown')}"
