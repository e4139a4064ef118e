"""Writer of the `events.jsonl` of a run, to which restarts append, and of its `heartbeat.json`.

    {"kind": "start", "time": 1790000000.0, "step": 200, "attempt": 3, "world_size": 16, ...}

The kinds of events are start, budget, floors, checkpoint, broken_checkpoint, skipped_step, interrupted, finished and
failed. Each process that opens the events of a run is an attempt, which has a number. An attempt without an event of
the last three kinds was killed, unless it is still running.
"""

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from pipeline.runlog.reader import EVENTS, HEARTBEAT, is_step, read_events, read_heartbeat
from pipeline.runtime import distributed

SECONDS_BETWEEN_BEATS = 5.0


class Events:
    """Appends to the events of a run and renews its heartbeat; writes on rank 0 only."""

    def __init__(self, run: Path, total_steps: int, step: int) -> None:
        """Args:
        run: directory of the run.
        total_steps: number of steps of the whole run, for the heartbeat; 0 until it is measured.
        step: the step at which this attempt begins.
        """
        self._run, self.total_steps, self.step = run, total_steps, step
        self._beaten, self._state = 0.0, ""
        self.reached = last_beat(run)
        """Step and time of the heartbeat of the previous attempt, as `last_beat` returns them."""
        lines, damaged = read_events(run) if distributed.is_main() else ([], 0)
        self.damaged_lines = damaged
        """Number of lines of previous attempts that cannot be read; 0 on all ranks but rank 0."""
        self.last_kind = lines[-1]["kind"] if lines else ""
        """Kind of the last event of previous attempts; empty on all ranks but rank 0."""
        self.attempt = lines[-1]["attempt"] + 1 if lines else 1
        """Number of this attempt, from 1: one more than that of the last event; valid on rank 0 only."""
        self._file = open_lines(run / EVENTS) if distributed.is_main() else None

    def write(self, kind: str, **values: Any) -> None:
        """Append one event with kind, time, step, attempt and `values`."""
        if self._file is not None:
            line = {"kind": kind, "time": round(time.time(), 3), "step": self.step, "attempt": self.attempt} | values
            self._file.write(json.dumps(line) + "\n")

    def beat(self, state: str) -> None:
        """Renew `heartbeat.json` if the state has changed or SECONDS_BETWEEN_BEATS have passed.

        Args:
            state: starting, training, evaluating, saving, finished, interrupted or failed.
        """
        now = time.monotonic()
        if self._file is None or (state == self._state and now - self._beaten < SECONDS_BETWEEN_BEATS):
            return
        self._beaten, self._state = now, state
        values = {
            "time": round(time.time(), 3),
            "step": self.step,
            "attempt": self.attempt,
            "total_steps": self.total_steps,
            "state": state,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "job": job_id(),
        }
        # Not synchronised to disk: it is useless after a crash of the machine, and each synchronisation takes time.
        temporary = self._run / ".heartbeat.json.tmp"
        temporary.write_text(json.dumps(values) + "\n", encoding="utf-8")
        os.replace(temporary, self._run / HEARTBEAT)

    def close(self) -> None:
        """Close the file of the events."""
        if self._file is not None:
            self._file.close()


def last_beat(run: Path) -> dict[str, Any]:
    """The heartbeat of the previous attempt, as `reached_step` and `reached_time` (Unix seconds); empty without one."""
    beat = read_heartbeat(run)
    if beat is None or not is_step(beat.get("step")):
        return {}
    return {"reached_step": beat["step"], "reached_time": float(beat["time"])}


def open_lines(path: Path) -> Any:
    """Open a file of JSON lines for appending; an incomplete last line, left by a kill, is removed."""
    file = path.open("a+b")
    file.seek(0)
    content = file.read()
    file.truncate(content.rfind(b"\n") + 1)
    file.close()
    return path.open("a", encoding="utf-8", buffering=1)


def job_id() -> str | None:
    """Number of the Slurm job; None outside of Slurm."""
    return os.environ.get("SLURM_JOB_ID")
