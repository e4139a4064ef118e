"""Time, CPU time and memory of a command and of all processes that it starts."""

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

import psutil

ROOT = Path(__file__).resolve().parent.parent
_SECONDS_BETWEEN_LOOKS = 0.05
_ERROR_SHOWN = 3000


@dataclass(frozen=True)
class Usage:
    """Resources that a command used, and its output."""

    seconds: float
    """Seconds from start to end, including the start of the interpreter and imports."""
    cpu_seconds: float
    """CPU seconds of all its processes, user and system."""
    peak_bytes: int
    """Largest sum of the resident sets of its processes; memory that they share counts for each."""
    output: str
    """Standard output of the command."""


def timed(command: Sequence[str], cores: Sequence[int], environment: Mapping[str, str] | None = None) -> Usage:
    """Runs a command on these cores alone, in the repository's root.

    Raises:
        SystemExit: it failed; with the end of what it printed.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        process = subprocess.Popen(
            ["taskset", "--cpu-list", ",".join(map(str, cores)), *command],
            stdout=output,
            stderr=errors,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
        )
        watch = _Watch(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        peak_bytes = watch.stop()
        output.seek(0)
        printed = output.read().decode(errors="replace")
        if process.returncode:
            errors.seek(0)
            said = printed + errors.read().decode(errors="replace")
            raise SystemExit(f"error: {' '.join(command)} failed\n{said[-_ERROR_SHOWN:]}")
    return Usage(seconds, usage.ru_utime + usage.ru_stime, peak_bytes, printed)


class _Watch:
    """Reads the memory of a process and its descendants at intervals."""

    def __init__(self, pid: int) -> None:
        self._pid, self._peak, self._over = pid, 0, Event()
        self._thread = Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """Stop, and return the largest sum of the resident sets in bytes."""
        self._over.set()
        self._thread.join()
        return self._peak

    def _look(self) -> None:
        while True:  # the first look is at once, for commands that end before the second one
            self._peak = max(self._peak, _resident_bytes(self._pid))
            if self._over.wait(_SECONDS_BETWEEN_LOOKS):
                return


def _resident_bytes(pid: int) -> int:
    total = 0
    try:
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            total += process.memory_info().rss
    except psutil.Error:  # The process ended in the meantime.
        pass
    return total
