"""What the ranks tell each other between steps: who was asked to stop, who failed, who still writes a checkpoint.

A rank that fails or stops alone leaves the others in a collective until a timeout. Here it goes on to the end of the
step, where all ranks learn of it and leave together. The vote runs while the step computes, so it costs no time.
"""

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
    """Of a step's vote; the same on every rank."""

    stop: str
    """Name of the signal that asked some rank to stop, empty if none did."""
    writing: bool
    """Whether some rank still writes its part of a checkpoint."""


class Supervisor:
    """Keeps an eye on this rank and hears of the others."""

    def __init__(self, signals: StopSignals, watchdog: Watchdog, events: Events) -> None:
        self.events = events
        self._signals, self._watchdog = signals, watchdog
        self._votes = distributed.Votes()
        self._error: Exception | None = None

    def beat(self, state: str) -> None:
        """Say that there is progress, and what is being done (see `Events.beat`)."""
        self._watchdog.beat()
        with self.noting_errors():
            self.events.beat(state)

    @contextmanager
    def noting_errors(self) -> Iterator[None]:
        """Keep an error of the block, of those that a user can put right, for the next vote."""
        try:
            yield
        except USER_ERRORS as error:
            self.note(error)

    def note(self, error: Exception | None) -> None:
        """Keep an error for the next vote; the first one counts."""
        self._error = self._error or error

    def cast(self, writing: bool) -> None:
        """Begin the vote of a step."""
        self._votes.cast([self._signals.received, self._error is not None, writing])

    def outcome(self) -> Outcome:
        """What the vote says.

        Raises:
            Exception: the error that this rank noted; PeerError on the others.
        """
        stop, failed, writing = self._votes.outcome()
        if failed:
            self.raise_noted()
        return Outcome(signal.Signals(stop).name if stop else "", bool(writing))

    def agree(self) -> str:
        """Vote now, while no step computes; the name of the signal that asked some rank to stop, or an empty text.

        Raises:
            Exception: as `outcome`.
        """
        self.cast(writing=False)
        return self.outcome().stop

    def leave_if_asked(self) -> None:
        """See the function of this name."""
        leave_if_asked(self._signals)

    def raise_noted(self) -> None:
        """Raise what any rank has noted, on all ranks together."""
        with distributed.together("go on"):
            if self._error is not None:
                raise self._error


def leave_if_asked(signals: StopSignals) -> None:
    """End before training begins if any rank has been asked to stop; on all ranks together.

    Raises:
        InterruptedRunError: some rank has; there is nothing to save.
    """
    received = max(distributed.gather_objects(signals.received))
    if received:
        raise InterruptedRunError(signal.Signals(received).name)
