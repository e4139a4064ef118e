"""Handling of the signals that stop a run: SIGTERM, SIGUSR1 (Slurm's `--signal`), SIGINT and SIGHUP."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pipeline.runtime.errors import INTERRUPTED

STOP = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP)


class InterruptedRunError(Exception):
    """The run received a stop signal and has saved a checkpoint; it resumes when restarted."""


class StopSignals:
    """Records a stop signal, which the training loop checks between two steps."""

    def __init__(self) -> None:
        self.received = 0
        """Number of the first stop signal; 0 if there was none."""

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Record stop signals while the block runs, except SIGHUP if it is ignored, as under nohup."""
        taken = [number for number in STOP if (number, signal.getsignal(number)) != (signal.SIGHUP, signal.SIG_IGN)]
        before = {number: signal.signal(number, self._note) for number in taken}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def ending_at_once(self) -> Iterator[None]:
        """End the process with status 75 on a stop signal while the block runs, before training has begun.

        A thread ends it, because the main thread may be importing modules or waiting for other ranks, in code that does
        not run signal handlers.
        """
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        at_work = threading.Lock()
        threading.Thread(target=_end_on_signal, args=(reader, at_work), name="signals", daemon=True).start()
        try:
            yield
        finally:
            at_work.acquire()  # from here on the thread no longer ends the process
            signal.set_wakeup_fd(before)
            os.close(writer)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.received == signal.SIGINT:
            raise KeyboardInterrupt  # a second Ctrl-C ends the process at once
        self.received = self.received or number


def _end_on_signal(reader: int, at_work: threading.Lock) -> None:
    """End the process when the number of a stop signal is read from the pipe, unless `at_work` is held."""
    with os.fdopen(reader, "rb", buffering=0) as numbers:
        while (number := numbers.read(1)) and at_work.acquire(blocking=False):
            if number[0] in STOP:
                if os.environ.get("RANK", "0") == "0":
                    name = signal.Signals(number[0]).name
                    print(f"ended after {name}, before training began; restart the run", file=sys.stderr, flush=True)
                os._exit(INTERRUPTED)
            at_work.release()
