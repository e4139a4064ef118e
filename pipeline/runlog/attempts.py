"""The attempts of a run: how each ended, and how many steps had to be trained again.

Every event contains the number of its attempt. Event times come from clocks that may be adjusted and that differ
between hosts. Where time decreases from one event to the next, all later events are shifted forward by the difference.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from pipeline.runlog.reader import ENDED, SILENT_SECONDS, Line, Run, is_number, is_time

RUNNING, SILENT, KILLED = "running", "silent", "killed"
"""Endings of an attempt that no event records; the other endings are the kinds of events in `ENDED`."""


@dataclass
class Attempt:
    """One process of a run, from its first event to its last."""

    number: int
    start: Line
    """The event "start", or the first event of an attempt that ended before its start."""
    events: list[Line] = field(default_factory=list)
    """All events, each with "at", its time in seconds on a clock that never decreases."""
    from_step: int = 0
    """The step at which the attempt started."""
    to_step: int = 0
    """The last step that events, metrics or heartbeat record."""
    last: float = 0.0
    """Time of the end or, if no event records it, of the last record of the attempt, on the clock of "at"."""
    ending: str = RUNNING
    """How the attempt ended: finished, interrupted, failed, running, silent or killed."""
    kept_step: int = 0
    """The step from which the next attempt resumed, or will resume."""
    lost_steps: int = 0
    """Number of steps after the last checkpoint, which the next attempt trained again or will have to."""
    at_least: bool = False
    """Whether lost_steps is a lower bound, because a killed process does not record its last step."""

    @property
    def started(self) -> bool:
        """Whether the attempt has an event "start"; its steps are undefined otherwise."""
        return bool(self.start["kind"] == "start")

    @property
    def begin(self) -> float:
        """Time of the first event."""
        return float(self.events[0]["at"])

    @property
    def seconds(self) -> float:
        """Time from the first event to `last`, in seconds."""
        return self.last - self.begin

    def of(self, kind: str) -> list[Line]:
        """The events of the given kind."""
        return [event for event in self.events if event["kind"] == kind]


@dataclass(frozen=True)
class History:
    """The attempts of a run."""

    attempts: Sequence[Attempt]
    set_back: float
    """Sum of the decreases of the clock between two events, in seconds."""

    @property
    def lost_steps(self) -> int:
        """Number of steps that had to be trained again, or will have to be."""
        return sum(attempt.lost_steps for attempt in self.attempts)

    def events(self, kind: str) -> list[Line]:
        """The events of the given kind, of all attempts."""
        return [event for attempt in self.attempts for event in attempt.of(kind)]


def history(run: Run, now: float | None = None) -> History:
    """Reconstruct the attempts of a run from its events; there are none without events.

    Args:
        run: the contents of its directory.
        now: the current time in Unix seconds, which distinguishes a silent run from one that is training.
    """
    events, set_back = _straightened(run.events)
    attempts = []
    for number, group in groupby(events, key=lambda event: event["attempt"]):
        own = list(group)
        attempts.append(Attempt(number, next((event for event in own if event["kind"] == "start"), own[0]), own))
    for position, attempt in enumerate(attempts, start=1):
        _complete(attempt, attempts[position:], run)
    if attempts:
        _judge_last(attempts[-1], run, time.time() if now is None else now)
    return History(attempts, set_back)


def _straightened(events: Sequence[Line]) -> tuple[list[Line], float]:
    """The events with "at", a time that never decreases, and the shift of the last one in seconds."""
    straight, shift, latest = [], 0.0, float("-inf")
    for event in events:
        shift += max(0.0, latest - (event["time"] + shift))
        latest = event["time"] + shift
        straight.append(event | {"at": latest})
    return straight, shift


def _complete(attempt: Attempt, later: Sequence[Attempt], run: Run) -> None:
    """Fill in the steps, the end and the loss of an attempt, from events and metrics."""
    ending = next((event["kind"] for event in attempt.events if event["kind"] in ENDED), None)
    final = attempt.events[-1]
    attempt.ending = ending or (KILLED if later else RUNNING)
    attempt.last = final["at"]
    if not attempt.started:
        return
    resumed_by = next((other for other in later if other.started), None)
    attempt.from_step = attempt.start["step"]
    # A resumed run removes the metrics of the steps that it trains again; the lines before them are of this attempt.
    until = resumed_by.start["step"] if resumed_by else float("inf")
    lines = [line for line in run.lines if attempt.from_step < line["step"] <= until]
    records = [*(event for event in attempt.events if event["kind"] != "broken_checkpoint"), *lines]
    attempt.to_step = max(entry["step"] for entry in records)
    if ending is None:
        shift = final["at"] - final["time"]
        latest = max([attempt.last, *(line["time"] + shift for line in lines)])
        attempt.last = min(latest, later[0].begin) if later else latest
    _lose(attempt, resumed_by)


def _lose(attempt: Attempt, resumed_by: Attempt | None) -> None:
    """Set the checkpoint from which the next attempt resumes, and the number of steps after it.

    The event "start" of the attempt after a kill records the heartbeat that it found: `reached_step`, `reached_time`.
    """
    attempt.kept_step = max([attempt.from_step, *(event["step"] for event in attempt.of("checkpoint"))])
    attempt.at_least = attempt.ending == KILLED
    if resumed_by is not None:
        start = resumed_by.start
        attempt.kept_step = start["step"]
        if attempt.ending == KILLED and is_number(start.get("reached_step")):
            attempt.to_step, attempt.at_least = max(attempt.to_step, int(start["reached_step"])), False
        if attempt.ending == KILLED and is_time(start.get("reached_time")):
            heard = float(start["reached_time"]) + start["at"] - start["time"]
            attempt.last = min(max(attempt.last, heard), resumed_by.begin)
    attempt.lost_steps = 0 if attempt.ending == "finished" else max(0, attempt.to_step - attempt.kept_step)


def _judge_last(last: Attempt, run: Run, now: float) -> None:
    """Determine from the heartbeat whether the last attempt is still training, and its last step."""
    beat = run.heartbeat
    if last.ending != RUNNING:
        return
    if beat is not None and beat.get("attempt", last.number) != last.number:
        last.ending, last.at_least = KILLED, True  # the heartbeat is of a later attempt, which has no event yet
        return
    if beat is not None:
        shift = last.events[-1]["at"] - last.events[-1]["time"]
        last.last = max(last.last, beat["time"] + shift)
        if last.started and isinstance(beat.get("step"), int):
            last.to_step = max(last.to_step, beat["step"])
            _lose(last, None)
    if beat is None or now - beat["time"] > SILENT_SECONDS:
        last.ending = SILENT
        last.at_least = beat is None
    else:
        last.lost_steps = 0
