"""Signals by which a scheduler or a user stops a run: SIGTERM, SIGUSR1 (Slurm's `--signal`), SIGINT, SIGHUP."""

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
    """The run was asked to stop and has saved a checkpoint; it resumes when restarted."""


class StopSignals:
    """Records a stop signal, which the training loop checks between two steps."""

    def __init__(self) -> None:
        self.received = 0
        """Number of the first stop signal, 0 while there is none."""

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the signals while the block runs, except SIGHUP under nohup, which ignores it."""
        taken = [number for number in STOP if (number, signal.getsignal(number)) != (signal.SIGHUP, signal.SIG_IGN)]
        before = {number: signal.signal(number, self._note) for number in taken}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def ending_at_once(self) -> Iterator[None]:
        """Let a signal end the process with status 75 while the block runs, before training has begun.

        A thread ends it, because the main thread may be importing modules, or waiting for other ranks in code that runs
        no signal handlers.
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
    """End the process when a number of STOP can be read, unless `at_work` is held by then."""
    with os.fdopen(reader, "rb", buffering=0) as numbers:
        while (number := numbers.read(1)) and at_work.acquire(blocking=False):
            if number[0] in STOP:
                if os.environ.get("RANK", "0") == "0":
                    name = signal.Signals(number[0]).name
                    print(f"ended after {name}, before training began; start it again", file=sys.stderr, flush=True)
                os._exit(INTERRUPTED)
            at_work.release()
