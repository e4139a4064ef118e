"""Report on runs as one self-contained HTML page, with embedded figures and without network access or scripts."""

import base64
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.reporting.attempts import attempts_picture
from pipeline.reporting.drawing import COLORS, Picture
from pipeline.reporting.figures import checkpoints, curves, metrics, terms
from pipeline.reporting.ratios import trust_ratios
from pipeline.reporting.verdict import verdict_of
from pipeline.runlog.attempts import KILLED, SILENT, Attempt, History, history
from pipeline.runlog.event_text import event_text
from pipeline.runlog.reader import EVENTS, Run, is_number
from pipeline.runtime.formatting import binary_size, duration, printable

_TEMPLATE = "page.html"
_FAULTS = ("broken_checkpoint", "skipped_step", "failed")
_ABSENT = "–"


@dataclass(frozen=True)
class Section:
    """A section of the page with the figures of one subject."""

    id: str
    title: str
    intro: str
    """Explanation of all figures of the section."""
    pictures: Sequence[Picture]
    missing: Sequence[str] = ()
    """Reasons for missing figures."""


@dataclass(frozen=True)
class Row:
    """A row of a table with a column for each run."""

    name: str
    cells: Sequence[str]


@dataclass(frozen=True)
class Report:
    """The contents of a page on one or several runs."""

    runs: Sequence[Run]
    histories: Sequence[History]
    sections: Sequence[Section]
    attempt_pictures: Sequence[Sequence[Picture]]
    """The figure of the attempts of each run; empty for a run without events."""
    now: float
    """Time of the report in Unix seconds."""

    @property
    def pictures(self) -> list[Picture]:
        """All figures of the page."""
        return [picture for part in (*(s.pictures for s in self.sections), *self.attempt_pictures) for picture in part]


def make(runs: Sequence[Run], now: float) -> Report:
    """Draw the figures of a page.

    Args:
        runs: at least one run.
        now: time of the report in Unix seconds.
    """
    pasts, among = [history(run, now) for run in runs], len(runs)
    attempt_pictures = [
        attempts_picture(run, past, number, among) for number, (run, past) in enumerate(zip(runs, pasts, strict=True))
    ]
    return Report(runs, pasts, _sections(runs, pasts), attempt_pictures, now)


def _sections(runs: Sequence[Run], pasts: Sequence[History]) -> list[Section]:
    ratios = [trust_ratios(run, number, len(runs)) for number, run in enumerate(runs)]
    parts = [
        Section(
            "loss",
            "Loss",
            "Lines show training, dots held-out samples. The pale lines are not smoothed.",
            curves(runs, "loss"),
        ),
        Section(
            "accuracy", "Accuracy and others", "Lines show training, dots held-out samples.", curves(runs, "accuracy")
        ),
        Section("steps", "Learning rate and gradients", "", curves(runs, "steps")),
        Section(
            "ratios",
            "Trust ratios",
            "LAMB multiplies the update u of each tensor w by the learning rate and by its trust ratio ||w|| / ||u||.",
            [picture for part in ratios for picture in part],
            [_no_ratios(run) for run, part in zip(runs, ratios, strict=True) if not part],
        ),
        Section("speed", "Speed and memory", "", curves(runs, "speed")),
        Section(
            "checkpoints",
            "Checkpoints",
            "",
            checkpoints(runs, pasts),
            [_no_checkpoints(run) for run, past in zip(runs, pasts, strict=True) if not past.events("checkpoint")],
        ),
    ]
    return [s if s.pictures or s.missing else Section(s.id, s.title, "", (), ["No figures yet."]) for s in parts]


def _no_ratios(run: Run) -> str:
    name = run.recipe.get("optimizer.name")
    if name is not None and name != "lamb":
        return f"{run.name} was trained with {name}, which has no trust ratios."
    return f"{run.name} has no trust ratios in its metrics: its version did not write them, or it has no step yet."


def _no_checkpoints(run: Run) -> str:
    why = "no checkpoint yet" if run.events else f"no {EVENTS}, in which newer versions record checkpoints"
    return f"{run.name} has {why}."


def page(report: Report) -> str:
    """The page as HTML; all texts from the runs are escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    differing, equal = recipe_rows(report.runs)
    names = [run.name for run in report.runs]
    html = environment.get_template(_TEMPLATE).render(
        title=", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else ""),
        now=_when(report.now) + " UTC",
        notes=_notes(report),
        glance=glance(report),
        verdicts=[(run.name, sentences) for run in report.runs if (sentences := verdict_of(run))],
        sections=report.sections,
        runs=[_columns_of(report, number) for number in range(len(report.runs))],
        differing=differing,
        equal=equal,
        base64=lambda png: base64.b64encode(png).decode(),
    )
    return html.encode("utf-8", "replace").decode("utf-8")  # The name of a directory may not be valid UTF-8.


def _columns_of(report: Report, number: int) -> dict[str, Any]:
    run, past = report.runs[number], report.histories[number]
    faults = [(_when(e["at"]), event_text(e)) for a in past.attempts for e in a.events if e["kind"] in _FAULTS]
    return {
        "name": run.name,
        "color": COLORS[number % len(COLORS)],
        "attempts_picture": report.attempt_pictures[number],
        "attempts": [_attempt(attempt) for attempt in past.attempts],
        "faults": faults,
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    start = attempt.start

    def said(key: str) -> str:
        return _ABSENT if start.get(key) is None else printable(start[key])

    return {
        "number": attempt.number,
        "start": _when(attempt.begin),
        "lasted": duration(attempt.seconds),
        "host": said("host"),
        "job": said("job"),
        "ranks": said("world_size"),
        "stage": said("zero_stage"),
        "from_step": f"{attempt.from_step:,}" if attempt.started else _ABSENT,
        "to_step": f"{attempt.to_step:,}" if attempt.started else _ABSENT,
        "lost": lost(attempt.lost_steps, attempt.at_least) if attempt.started else _ABSENT,
        "ending": ending(attempt),
    }


def lost(steps: int, at_least: bool) -> str:
    """Number of lost steps as text; a killed process may have lost more than it has recorded."""
    return f"{steps:,} or more" if at_least else f"{steps:,}"


def ending(attempt: Attempt) -> str:
    """The ending of an attempt as text."""
    final = next((event for event in reversed(attempt.events) if event["kind"] == attempt.ending), {})
    match attempt.ending:
        case "interrupted":
            return f"interrupted by {printable(final.get('signal', 'a signal'))}"
        case "failed":
            return f"failed: {printable(final.get('error', 'no error given'))}"
        case ending if ending == KILLED:
            return "killed"
        case ending if ending == SILENT:
            return "no heartbeat"
        case ending:
            return ending


def _when(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):  # the time has no calendar date
        return _ABSENT


def _notes(report: Report) -> list[str]:
    """Notes on damaged lines, decreasing clocks, and silent runs."""
    notes = []
    for run, past in zip(report.runs, report.histories, strict=True):
        if run.damaged:
            notes.append(f"{run.name}: {run.damaged} lines could not be read and are skipped.")
        if past.set_back >= 1:
            back = duration(past.set_back)
            notes.append(f"{run.name}: clocks went back by {back}; later times are shifted forward by the same amount.")
        if past.attempts and past.attempts[-1].ending == SILENT:
            notes.append(f"{run.name}: no heartbeat since {_when(past.attempts[-1].last)} UTC.")
    return notes


def recipe_rows(runs: Sequence[Run]) -> tuple[list[Row], list[Row]]:
    """Rows of the recipe fields that differ between the runs, and of those that are equal."""
    differing: list[Row] = []
    equal: list[Row] = []
    for name in dict.fromkeys(field for run in runs for field in run.recipe):
        cells = [printable(run.recipe[name]) if name in run.recipe else _ABSENT for run in runs]
        (equal if len(set(cells)) == 1 else differing).append(Row(name, cells))
    return differing, equal


def glance(report: Report) -> list[Row]:
    """The table of the main metrics; rows without any value are omitted."""
    both = list(zip(report.runs, report.histories, strict=True))
    rows = [Row(name, [tell(run, past) for run, past in both]) for name, tell in _rows(report.runs).items()]
    return [row for row in rows if any(cell != _ABSENT for cell in row.cells)]


def _rows(runs: Sequence[Run]) -> dict[str, Callable[[Run, History], str]]:
    """`_GLANCE`, with rows for the losses and accuracies of the terms and the metrics of tasks after the total loss."""
    of_terms: dict[str, Callable[[Run, History], str]] = {}
    for term in terms(runs):
        of_terms[f"{term.title} loss, held out"] = _last("heldout", f"{term.name}_loss", 1, "{:.3f}")
        of_terms[f"{term.title} accuracy, held out"] = _last("heldout", f"{term.name}_accuracy", 100, "{:.1f} %")
        of_terms[f"{term.title} loss, averaged weights"] = _last("averaged", f"{term.name}_loss", 1, "{:.3f}")
        of_terms[f"{term.title} accuracy, averaged weights"] = _last(
            "averaged", f"{term.name}_accuracy", 100, "{:.1f} %"
        )
    for name in metrics(runs):
        of_terms[f"{name}, held out"] = _last("heldout", name, 1, "{:.4f}")
    total = "loss, held out"
    first = list(_GLANCE)[: list(_GLANCE).index(total) + 1]
    return {name: _GLANCE[name] for name in first} | of_terms | _GLANCE


def _steps(run: Run, past: History) -> str:
    done = max([run.last_step, *(a.to_step for a in past.attempts[-1:])])
    return f"{done:,} of {run.total_steps:,}" if run.total_steps else f"{done:,}"


def _last(kind: str, key: str, scale: float, form: str) -> Callable[[Run, History], str]:
    """The first and last value of a held-out metric, or the last value of a metric of another kind."""

    def tell(run: Run, past: History) -> str:
        values = [value * scale for value in run.series(kind, key)[1]]
        if not values:
            return _ABSENT
        return f"{form} → {form}".format(values[0], values[-1]) if kind == "heldout" else form.format(values[-1])

    return tell


def _median(key: str, scale: float, form: str) -> Callable[[Run, History], str]:
    def tell(run: Run, past: History) -> str:
        values = run.series("train", key)[1]
        return form.format(statistics.median(values) * scale) if values else _ABSENT

    return tell


def _saved(key: str, tell: Callable[[float], str]) -> Callable[[Run, History], str]:
    def median(run: Run, past: History) -> str:
        values = [event[key] for event in past.events("checkpoint") if is_number(event.get(key))]
        return tell(statistics.median(values)) if values else _ABSENT

    return median


def _of_attempts(tell: Callable[[History], str]) -> Callable[[Run, History], str]:
    return lambda run, past: tell(past) if past.attempts else _ABSENT


_GLANCE: dict[str, Callable[[Run, History], str]] = {
    "steps": _steps,
    "state": _of_attempts(lambda past: ending(past.attempts[-1])[:60]),
    "loss, held out": _last("heldout", "loss", 1, "{:.3f}"),
    "loss, training (last)": _last("train", "loss", 1, "{:.3f}"),
    "tokens/s, median": _median("tokens_per_second", 1, "{:,.0f}"),
    "sequences/s, median": _median("sequences_per_second", 1, "{:,.0f}"),
    "MFU, median": _median("mfu", 100, "{:.1f} %"),
    "waiting for data, median": _median("loader_wait_share", 100, "{:.1f} %"),
    "peak memory of any rank": _last("train", "peak_memory_gib", 1, "{:.1f} GiB"),
    "skipped steps": _last("train", "skipped_steps", 1, "{:.0f}"),
    "attempts": _of_attempts(lambda past: str(len(past.attempts))),
    "total time of attempts": _of_attempts(lambda past: duration(sum(a.seconds for a in past.attempts))),
    "steps lost": _of_attempts(lambda past: lost(past.lost_steps, any(a.at_least for a in past.attempts))),
    "checkpoints": _of_attempts(lambda past: str(len(past.events("checkpoint")))),
    "checkpoint time, median": _saved("seconds", duration),
    "checkpoint stall of training, median": _saved("stall_seconds", duration),
    "checkpoint size, median": _saved("bytes", binary_size),
}
