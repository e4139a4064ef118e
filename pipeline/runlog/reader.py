"""Readers of the files of a run, also while it is training: metrics, events, heartbeat, recipe.

Each file may be missing, incomplete, or written by a machine with a wrong clock, since users often inspect a run after
something went wrong with it. Lines that cannot be read are counted and are not an error.
"""

import json
import math
import tomllib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.runlog.schedules import Planned, read_schedules
from pipeline.runlog.terms import Term, metrics_of, terms_of
from pipeline.runtime.options import flatten

Line = dict[str, Any]

METRICS, EVENTS, HEARTBEAT, RECIPE = "metrics.jsonl", "events.jsonl", "heartbeat.json", "recipe.toml"
SILENT_SECONDS = 60.0
"""Seconds without a heartbeat after which a run is reported as silent; a run that is training renews it more often."""
ENDED = frozenset({"finished", "interrupted", "failed"})
"""States of a heartbeat, and kinds of events, after which a run writes nothing more."""
_CALENDAR = 1e11
"""Bound in Unix seconds, above which times have no calendar date."""


class Tail:
    """A JSON-lines file that is read incrementally.

    When a run resumes, it rewrites `metrics.jsonl` without the steps that will be trained again. The file is shorter
    then, but may have grown beyond its former length at the next `poll`. A rewritten file is detected by comparing the
    whole last line that was read, because the line of a step that is trained again may differ in its time only.
    """

    def __init__(self, path: Path, without: Collection[str] = ()) -> None:
        """Args:
        path: the file, which need not exist yet.
        without: kinds of lines that are skipped.
        """
        self.path, self._without = path, frozenset(without)
        self._forget()

    def _forget(self) -> None:
        self.lines: list[Line] = []
        self.damaged = 0  # number of lines that are not a JSON object with kind, step and time
        self._end, self._mark = 0, b""

    def poll(self) -> bool:
        """Append new complete lines to `lines`, and return whether anything has changed."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._end - len(self._mark))
                rewritten = file.read(len(self._mark)) != self._mark
                if rewritten:
                    self._forget()
                    file.seek(0)
                new = file.read()
        except FileNotFoundError:
            rewritten, new = self._end > 0, b""
            self._forget()
        complete = new[: new.rfind(b"\n") + 1]
        self._end += len(complete)
        for text in complete.splitlines(keepends=True):
            self._mark = text
            self._take(text)
        return rewritten or bool(complete)

    def _take(self, text: bytes) -> None:
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            line = None
        if not _is_line(line):
            self.damaged += 1  # such as an incomplete line after a kill, to which the next attempt has appended
        elif line["kind"] not in self._without:
            self.lines.append(line)


def _is_line(line: Any) -> bool:
    if not isinstance(line, dict) or not isinstance(line.get("kind"), str):
        return False
    return is_step(line.get("step")) and is_time(line.get("time"))


def is_step(value: Any) -> bool:
    """Whether a value is a number of optimizer steps."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def read_lines(path: Path) -> tuple[list[Line], int]:
    """The readable lines of metrics.jsonl or events.jsonl, and the number of others; a missing file has no lines.

    An incomplete last line, left by a kill, counts as neither.
    """
    tail = Tail(path)
    tail.poll()
    return tail.lines, tail.damaged


def read_events(run: Path) -> tuple[list[Line], int]:
    """The events of a run, as `numbered` returns them, and the number of lines that cannot be read."""
    lines, damaged = read_lines(run / EVENTS)
    return numbered(lines), damaged


def numbered(events: Sequence[Line]) -> list[Line]:
    """The events with "attempt", the number of the attempt, from 1.

    Events of earlier versions lack this field; their attempts begin with a start or the broken checkpoints before it.
    """
    number, before, found = 1, "", []
    for event in events:
        if is_step(event.get("attempt")):
            number = event["attempt"]
        elif before and event["kind"] in ("start", "broken_checkpoint") and before != "broken_checkpoint":
            number += 1
        before = event["kind"]
        found.append(event | {"attempt": number})
    return found


def is_number(value: Any) -> bool:
    """Whether a value is a finite number; metrics contain null for infinities and NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_time(value: Any) -> bool:
    """Whether a value is a time in Unix seconds within the range of calendar dates."""
    return is_number(value) and 0 <= value < _CALENDAR


def read_heartbeat(run: Path) -> Line | None:
    """The heartbeat of a run; None if it is missing or cannot be read."""
    try:
        beat = json.loads((run / HEARTBEAT).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return beat if isinstance(beat, dict) and is_time(beat.get("time")) else None


def read_recipe(run: Path) -> dict[str, Any] | None:
    """The fields of the recipe of a run by dotted name; empty if the file is missing, None if it is damaged."""
    try:
        return flatten(tomllib.loads((run / RECIPE).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        return None


@dataclass(frozen=True)
class Run:
    """The contents of the directory of a run."""

    name: str
    """Name that distinguishes the run from the others of a report."""
    directory: Path
    lines: Sequence[Line]
    """The lines of metrics.jsonl, in the order of their steps."""
    events: Sequence[Line] = ()
    """The lines of events.jsonl, as `numbered` returns them; empty if there is no file."""
    heartbeat: Line | None = None
    recipe: dict[str, Any] = field(default_factory=dict)
    damaged: int = 0
    """Number of lines of both files that cannot be read; a recipe that is not valid TOML counts as one."""
    schedules: Sequence[Planned] = ()
    """The planned values of the schedules; empty if there is no file."""

    def of(self, kind: str) -> list[Line]:
        """The metrics of the given kind."""
        return [line for line in self.lines if line["kind"] == kind]

    def series(self, kind: str, key: str) -> tuple[list[int], list[float]]:
        """The steps and values of a metric, where it is present and finite."""
        points = [(line["step"], line[key]) for line in self.of(kind) if is_number(line.get(key))]
        return [step for step, _ in points], [value for _, value in points]

    @property
    def terms(self) -> tuple[Term, ...]:
        """The terms of the loss of the run."""
        return terms_of(self.events)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the task's metrics in the evaluations of a fine-tuning; empty for a pre-training."""
        return metrics_of(self.events)

    @property
    def last_step(self) -> int:
        """The step of the last training line."""
        return int(max(line["step"] for line in self.of("train")))

    @property
    def total_steps(self) -> int | None:
        """Number of steps of the whole run, from its heartbeat or recipe; None if neither contains it."""
        total = (self.heartbeat or {}).get("total_steps") or self.recipe.get("schedule.total_steps")
        return total if isinstance(total, int) and total > 0 else None


def read_run(directory: Path, name: str) -> Run:
    """Read the directory of a run.

    Args:
        directory: the run_dir of the recipe.
        name: name of the run in reports.

    Raises:
        ValueError: there are no metrics, or they contain no training step.
    """
    path = directory / METRICS
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give the run_dir of a recipe that has been trained")
    lines, damaged_metrics = read_lines(path)
    if not any(line["kind"] == "train" for line in lines):
        raise ValueError(f"{path}: no training step yet; look again after logging.every steps, or give --follow")
    events, damaged_events = read_events(directory)
    recipe = read_recipe(directory)
    damaged = damaged_metrics + damaged_events + (recipe is None)
    lines.sort(key=lambda line: line["step"])
    beat, schedules = read_heartbeat(directory), read_schedules(directory)
    return Run(name, directory, lines, events, beat, recipe or {}, damaged, schedules)


def read_runs(directories: Sequence[Path]) -> list[Run]:
    """Read several runs; the name of each is the shortest end of its path that distinguishes it from the others.

    Raises:
        ValueError: one of them cannot be read, or is given twice.
    """
    parts = [directory.resolve().parts for directory in directories]
    for directory, path in zip(directories, parts, strict=True):
        if parts.count(path) > 1:
            raise ValueError(f"{directory}: given twice; give each run once")
    length = 1
    while len({path[-length:] for path in parts}) < len(parts):
        length += 1
    return [read_run(d, str(Path(*path[-length:]))) for d, path in zip(directories, parts, strict=True)]
