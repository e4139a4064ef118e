"""The state of a run that is training, from its files; `pipeline.reporting.follow` displays it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.reporting.reference import shipped
from pipeline.reporting.verdict import verdict
from pipeline.runlog.reader import (
    ENDED,
    EVENTS,
    METRICS,
    SILENT_SECONDS,
    Line,
    Tail,
    is_number,
    read_heartbeat,
    read_recipe,
)
from pipeline.runlog.terms import Term, metrics_of, terms_of

_RATE_LINES = 20
"""Number of training lines, the last ones, from which the rate of steps is computed."""


@dataclass(frozen=True)
class View:
    """The state of a run at one moment."""

    state: str
    """State in the heartbeat or, without one, from events and metrics."""
    silent_for: float | None
    """Seconds since the last heartbeat; None without one."""
    step: int
    """The last step that heartbeat, metrics or events record."""
    total: int | None
    """Number of steps of the whole run; None if it is unknown."""
    rate: float | None
    """Recent steps per second, including evaluations and checkpoints."""
    train: Line | None
    """The latest line of training metrics."""
    heldout: Line | None
    """The latest line of held-out metrics."""
    losses: list[float]
    """All training losses in nats."""
    events: list[Line]
    terms: tuple[Term, ...]
    """The terms of the loss."""
    metrics: tuple[str, ...]
    """The names of the task's metrics in the evaluations of a fine-tuning."""
    verdict: list[str]
    """Sentences on the latest evaluation (`pipeline.reporting.verdict`)."""
    host: str
    """Name of the host of rank 0."""
    job: str
    """Number of the Slurm job; empty outside of Slurm."""

    @property
    def ended(self) -> bool:
        """Whether the run writes nothing more."""
        return self.state in ENDED

    @property
    def silent(self) -> bool:
        """Whether a run that has not ended has had no heartbeat for SILENT_SECONDS."""
        return not self.ended and self.silent_for is not None and self.silent_for > SILENT_SECONDS

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the last step at the current rate; None if it is unknown."""
        return (self.total - self.step) / self.rate if self.total is not None and self.rate else None


class Watch:
    """Reads the directory of a run incrementally."""

    def __init__(
        self, run: Path, now: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Args:
        run: the directory.
        now: returns the time in Unix seconds.
        monotonic: returns seconds on a clock that never decreases.

        Raises:
            ValueError: there is no such directory.
        """
        if not run.is_dir():
            raise ValueError(f"{run}: no such directory; give the run_dir of a recipe that is being trained")
        self.run, self._now, self._monotonic = run, now, monotonic
        self._metrics, self._events = Tail(run / METRICS, without={"trust_ratio"}), Tail(run / EVENTS)
        self._beat: Line | None = None
        self._heard = 0.0  # on the monotonic clock, since the clock of the run's host may differ

    def look(self) -> View:
        """Read what is new, and return the current state of the run."""
        self._metrics.poll()
        self._events.poll()
        silent_for = self._listen()
        lines, events, beat = self._metrics.lines, self._events.lines, self._beat or {}
        train = [line for line in lines if line["kind"] == "train"]
        heldout = [line for line in lines if line["kind"] == "heldout"]
        start = next((event for event in reversed(events) if event["kind"] == "start"), {})
        steps = [line["step"] for line in (*train[-1:], *events[-1:])]
        step = beat["step"] if isinstance(beat.get("step"), int) else max(steps, default=0)
        recipe = read_recipe(self.run) or {}
        total = beat.get("total_steps") or recipe.get("schedule.total_steps")
        total = total if isinstance(total, int) and total > 0 else None
        return View(
            state=str(beat.get("state") or self._state(step, total)),
            silent_for=silent_for,
            step=step,
            total=total,
            rate=rate([line for line in train if line["step"] > start.get("step", -1)]),
            train=train[-1] if train else None,
            heldout=heldout[-1] if heldout else None,
            losses=[line["loss"] for line in train if is_number(line.get("loss"))],
            events=events,
            terms=terms_of(events),
            metrics=metrics_of(events),
            verdict=verdict(heldout, events, shipped(recipe.get("name")), total),
            host=str(beat.get("host") or start.get("host") or ""),
            job=str(beat.get("job") or start.get("job") or ""),
        )

    def _listen(self) -> float | None:
        """Seconds since the heartbeat changed; the age of the first one is computed from the clocks of both hosts."""
        beat, first = read_heartbeat(self.run), self._beat is None
        if beat is not None and beat != self._beat:
            self._heard = self._monotonic() - (max(0.0, self._now() - beat["time"]) if first else 0.0)
            self._beat = beat
        return None if self._beat is None else max(0.0, self._monotonic() - self._heard)

    def _state(self, step: int, total: int | None) -> str:
        """The state of a run without a heartbeat, from the event that ended it or from its last step."""
        if self._events.lines and self._events.lines[-1]["kind"] in ENDED:
            return str(self._events.lines[-1]["kind"])
        if not self._metrics.lines:
            return "starting"
        return "finished" if total is not None and step >= total else "training"


def rate(train: list[Line]) -> float | None:
    """Steps per second over the last training lines of an attempt; None if there are too few."""
    last = train[-_RATE_LINES:]
    if len(last) < 2:
        return None
    steps, seconds = last[-1]["step"] - last[0]["step"], last[-1]["time"] - last[0]["time"]
    return steps / seconds if steps > 0 and seconds > 0 else None
