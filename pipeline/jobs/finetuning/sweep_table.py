"""The results of a sweep: medians and spread by learning rate, the best runs, and GLUE's average.

A run that diverged, or whose metric is not defined (a correlation with a constant), counts as worse than any other.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from pipeline.tasks.glue import GLUE, score
from pipeline.tasks.splits import DEV

Metrics = Mapping[str, Mapping[str, float]]
"""Split -> metric -> value."""


@dataclass(frozen=True)
class Outcome:
    """The end of a run."""

    task: str
    rate: float
    seed: int
    directory: str
    """Directory of the run."""
    metric: str = ""
    """The metric that chooses the best epoch; empty if the run diverged."""
    results: Metrics | None = None
    """Metrics of the best epoch; None if the run diverged."""

    @property
    def value(self) -> float:
        """The metric on dev; -inf if it is not defined."""
        found = self.results[DEV][self.metric] if self.results else math.nan
        return -math.inf if math.isnan(found) else found


@dataclass(frozen=True)
class RateSummary:
    """The runs of a task with one learning rate."""

    task: str
    rate: float
    runs: int
    diverged: int
    median: float
    lowest: float
    highest: float
    score: float | None
    """Median of GLUE's scores of the runs; None of other tasks, and if a run diverged."""


def summarise(outcomes: Sequence[Outcome]) -> list[RateSummary]:
    """Return a summary for each task and learning rate, in the order of the runs."""
    groups: dict[tuple[str, float], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.task, outcome.rate), []).append(outcome)
    return [_summary(task, rate, members) for (task, rate), members in groups.items()]


def _summary(task: str, rate: float, members: Sequence[Outcome]) -> RateSummary:
    values = [member.value for member in members]
    found = [member.results for member in members if member.results]
    scored = task in GLUE and len(found) == len(members)
    return RateSummary(
        task,
        rate,
        runs=len(members),
        diverged=len(members) - len(found),
        median=median(values),
        lowest=min(values),
        highest=max(values),
        score=median(score(task, results) for results in found) if scored else None,
    )


def best_of(outcomes: Sequence[Outcome]) -> dict[str, Outcome]:
    """Return the run with the largest metric on dev of each task that has one; the first of equal ones."""
    best: dict[str, Outcome] = {}
    for outcome in outcomes:
        if outcome.value > (best[outcome.task].value if outcome.task in best else -math.inf):
            best[outcome.task] = outcome
    return best


def glue_scores(summaries: Sequence[RateSummary]) -> dict[str, float]:
    """Return the score of each task of GLUE at the learning rate with the largest median; the first of equal ones."""
    chosen: dict[str, RateSummary] = {}
    for summary in summaries:
        if summary.score is not None and (summary.task not in chosen or summary.median > chosen[summary.task].median):
            chosen[summary.task] = summary
    return {task: summary.score for task, summary in chosen.items() if summary.score is not None}


def average(scores: Mapping[str, float]) -> float:
    """Return the mean of the tasks' scores, as GLUE defines its average."""
    return sum(scores.values()) / len(scores)


def to_json(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return runs, summaries and best runs as values that JSON can represent; undefined numbers are null."""
    summaries, scores = summarise(outcomes), glue_scores(summarise(outcomes))
    values = {
        "runs": [vars(outcome) for outcome in outcomes],
        "rates": [vars(summary) for summary in summaries],
        "best": {task: outcome.directory for task, outcome in best_of(outcomes).items()},
    }
    if scores:
        values["glue"] = {"scores": scores, "average": average(scores)}
    finite: dict[str, Any] = _finite(values)
    return finite


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_markdown(outcomes: Sequence[Outcome], is_glue: bool) -> str:
    """Return the tables as Markdown.

    Args:
        outcomes: all runs.
        is_glue: whether GLUE's average is stated.
    """
    metrics = {outcome.task: outcome.metric for outcome in outcomes if outcome.metric}
    lines = [
        "# Sweep",
        "",
        "Metrics are those of the dev split and of the best epoch of each run.",
        "",
        "| task | learning rate | runs | diverged | metric | median | lowest | highest |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for summary in summarise(outcomes):
        shown = " | ".join(_number(value) for value in (summary.median, summary.lowest, summary.highest))
        counts = f"{summary.runs} | {summary.diverged}"
        lines.append(f"| {summary.task} | {summary.rate} | {counts} | {metrics.get(summary.task, '')} | {shown} |")
    lines += ["", "| task | best run | metrics |", "|---|---|---|"]
    lines += [f"| {task} | {outcome.directory} | {_listed(outcome)} |" for task, outcome in best_of(outcomes).items()]
    return "\n".join([*lines, *(_glue_lines(outcomes) if is_glue else [])]) + "\n"


def _number(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else "none"


def _listed(outcome: Outcome) -> str:
    results = outcome.results or {}
    return ", ".join(f"{split} {name} {value:.4f}" for split in results for name, value in results[split].items())


def _glue_lines(outcomes: Sequence[Outcome]) -> list[str]:
    scores = glue_scores(summarise(outcomes))
    lines = ["", "| task | GLUE's score, in percent |", "|---|---|"]
    lines += [f"| {task} | {100 * value:.1f} |" for task, value in scores.items()]
    if scores:
        lines.append(f"| average of {len(scores)} tasks | {100 * average(scores):.1f} |")
    others = {task: value for task, value in scores.items() if task != "wnli"}
    if others and len(others) < len(scores):
        lines.append(f"| average without wnli | {100 * average(others):.1f} |")
    missing = [task for task in GLUE if task not in scores]
    return [*lines, "", f"Tasks without a score: {', '.join(missing)}."] if missing else lines
