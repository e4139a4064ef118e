"""Requests to stop that a scheduler or a person sends: SIGTERM, SIGUSR1 (Slurm's `--signal`), SIGINT."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOP = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class InterruptedRunError(Exception):
    """The run was asked to stop, has saved, and continues when it is started again."""


class StopSignals:
    """Notes a request to stop; whoever trains looks at it between two steps."""

    def __init__(self) -> None:
        self.received = 0
        """Number of the first signal that asked, 0 as long as none did."""

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals while the block runs."""
        before = {number: signal.signal(number, self._note) for number in STOP}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.received == signal.SIGINT:
            raise KeyboardInterrupt  # a person who asks twice does not want to wait
        self.received = self.received or number
