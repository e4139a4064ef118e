"""A watchdog that ends a process without progress, after it has logged the stack traces of all threads.

If one rank hangs, all others wait for it in their next collective. The watchdog of every rank then detects the lack of
progress, so that the log of every rank contains its stack traces. A Python thread cannot run while C code holds the
global interpreter lock; for that case `faulthandler`, whose thread does not need it, has a deadline one minute later.
"""

import faulthandler
import os
import sys
import threading
import time
from typing import TextIO

from pipeline.runtime.errors import FAULT


class Watchdog:
    """Ends the process if `beat` is not called for longer than the timeout, between `start` and `stop`."""

    def __init__(self, minutes: float, log: TextIO) -> None:
        """Args:
        minutes: timeout, the longest time between two calls of `beat`.
        log: file to which the stack traces are written.
        """
        self._seconds, self._log = 60 * minutes, log
        self._beaten = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Start the thread of the watchdog."""
        self.beat()
        self._thread.start()

    def beat(self) -> None:
        """Report progress; this costs no more than reading a clock."""
        self._beaten = time.monotonic()

    def stop(self) -> None:
        """Stop the thread of the watchdog."""
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
