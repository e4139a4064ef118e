"""Agreement of the ranks between steps: whether any was asked to stop, has failed, or still writes a checkpoint.

If a rank failed or stopped alone, the others would wait in a collective until its timeout. Therefore a rank continues
to the end of the step, where all ranks learn of its state and leave together. The vote overlaps with the computation of
the step."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from pipeline.runlog.events import Events
from pipeline.runtime import distributed
from pipeline.runtime.command import USER_ERRORS
from pipeline.runtime.signals import InterruptedRunError, StopSignals
from pipeline.runtime.watchdog import Watchdog


class Outcome(NamedTuple):
    """Outcome of a step's vote, the same on every rank."""

    stop: str
    """Name of the stop signal that some rank has received; empty if none has."""
    writing: bool
    """Whether some rank still writes its part of a checkpoint."""


class Supervisor:
    """Collects stop signals and errors of this rank, and exchanges them with the other ranks."""

    def __init__(self, signals: StopSignals, watchdog: Watchdog, events: Events) -> None:
        self.events = events
        self._signals, self._watchdog = signals, watchdog
        self._votes = distributed.Votes()
        self._error: Exception | None = None

    def beat(self, state: str) -> None:
        """Report progress to the watchdog, and a state to the heartbeat (see `Events.beat`)."""
        self._watchdog.beat()
        with self.noting_errors():
            self.events.beat(state)

    @contextmanager
    def noting_errors(self) -> Iterator[None]:
        """Keep an error of the block for the next vote if it is one that a user can correct (USER_ERRORS)."""
        try:
            yield
        except USER_ERRORS as error:
            self.note(error)

    def note(self, error: Exception | None) -> None:
        """Keep an error for the next vote, unless there is an earlier one."""
        self._error = self._error or error

    def cast(self, writing: bool) -> None:
        """Begin the vote of a step.

        Args:
            writing: whether this rank still writes its part of a checkpoint.
        """
        self._votes.cast([self._signals.received, self._error is not None, writing])

    def outcome(self) -> Outcome:
        """Wait for the vote and return its outcome.

        Raises:
            Exception: the error that this rank kept; PeerError on the others.
        """
        stop, failed, writing = self._votes.outcome()
        if failed:
            self.raise_noted()
        return Outcome(signal.Signals(stop).name if stop else "", bool(writing))

    def agree(self) -> str:
        """Vote at once and return the name of the stop signal that some rank has received; empty if none has.

        Raises:
            Exception: as in `outcome`.
        """
        self.cast(writing=False)
        return self.outcome().stop

    def leave_if_asked(self) -> None:
        """Call the function `leave_if_asked` with the signals of this rank."""
        leave_if_asked(self._signals)

    def raise_noted(self) -> None:
        """Raise the error that any rank has kept, on all ranks together (PeerError on the others)."""
        with distributed.together("go on"):
            if self._error is not None:
                raise self._error


def leave_if_asked(signals: StopSignals) -> None:
    """Leave before training begins if any rank was asked to stop; all ranks call it together.

    Raises:
        InterruptedRunError: a rank was asked to stop. There is nothing to save.
    """
    received = max(distributed.gather_objects(signals.received))
    if received:
        raise InterruptedRunError(signal.Signals(received).name)
