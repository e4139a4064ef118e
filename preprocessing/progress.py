"""Progress display of a stage: a bar on a terminal, otherwise (in a log file, a batch job) a line every ten seconds."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm

LOG = logging.getLogger("preprocessing")
_SECONDS_BETWEEN_LINES = 10.0


class LogLines:
    """Progress as log lines, with the part of tqdm's interface that is used here."""

    def __init__(self, total: int, label: str) -> None:
        """Starts the clock.

        Args:
            total: amount of work in bytes.
            label: start of each line.
        """
        self.total, self.label, self.done = total, label, 0
        self.start = self.last = time.monotonic()

    def update(self, amount: int) -> None:
        """Adds `amount` bytes of finished work, and logs a line if the last one is ten seconds old."""
        self.done += amount
        now = time.monotonic()
        if now - self.last >= _SECONDS_BETWEEN_LINES:
            self.last = now
            rate = self.done / (now - self.start)
            remaining = (self.total - self.done) / rate / 60
            LOG.info(
                f"{self.label}: {self.done / 1e6:,.0f} of {self.total / 1e6:,.0f} MB, "
                f"{rate / 1e6:.1f} MB/s, {remaining:.0f} min left"
            )


@contextmanager
def progress(total: int, label: str) -> "Iterator[tqdm | LogLines]":
    """Displays progress towards `total` bytes while the block runs; call `update(bytes)` on the yielded object."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(total=total, desc=label, unit="B", unit_scale=True) as bar:
            yield bar
    else:
        yield LogLines(total, label)
