"""A watchdog ends a process that makes no progress, after it has logged the stacks of all threads.

When one rank hangs, all others wait for it in their next collective. The watchdog of each rank then finds no progress,
so that every rank's log has its stacks. A Python thread cannot run while C code holds the interpreter's lock; for that
case `faulthandler`, whose own thread needs no interpreter, has a deadline a minute later.
"""

import faulthandler
import os
import sys
import threading
import time
from typing import TextIO

from pipeline.runtime.errors import FAULT


class Watchdog:
    """Ends the process when `beat` has not been called for too long, between `start` and `stop`."""

    def __init__(self, minutes: float, log: TextIO) -> None:
        """Args:
        minutes: longest time between two calls of `beat`.
        log: file for the stacks.
        """
        self._seconds, self._log = 60 * minutes, log
        self._beaten = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Start the thread that watches."""
        self.beat()
        self._thread.start()

    def beat(self) -> None:
        """Report progress; costs no more than reading a clock."""
        self._beaten = time.monotonic()

    def stop(self) -> None:
        """Stop the thread that watches."""
        self._over.set()
        self._thread.join()
        faulthandler.cancel_dump_traceback_later()

    def _watch(self) -> None:
        armed_for = -1.0
        while not self._over.wait(min(self._seconds / 10, 10)):
            beaten = self._beaten
            if beaten != armed_for:
                faulthandler.dump_traceback_later(self._seconds + 60, exit=True, file=self._log)
                armed_for = beaten
            if time.monotonic() - beaten > self._seconds:
                self._end()

    def _end(self) -> None:
        rank = os.environ.get("RANK", "0")
        message = f"error: rank {rank} made no progress for {self._seconds / 60:g} minutes (engine.timeout_minutes)"
        for stream in (self._log, sys.stderr):
            print(f"{message}; the stacks of its threads are in {self._log.name}", file=stream, flush=True)
        faulthandler.dump_traceback(file=self._log)
        self._log.flush()
        os._exit(FAULT)
