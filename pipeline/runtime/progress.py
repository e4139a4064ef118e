"""Progress of a long loop: a progress bar on a terminal, otherwise a line every SECONDS_BETWEEN_LINES seconds."""

import sys
import time

from tqdm import tqdm

from pipeline.runtime.formatting import duration
from pipeline.runtime.logger import LOG

SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Counts steps, and shows their rate and the remaining time; shows nothing if `enabled` is False."""

    def __init__(self, total: int, done: int, label: str, enabled: bool) -> None:
        """Args:
        total: number of steps of the whole loop.
        done: number of steps that are done already, when the loop resumes.
        label: text before the number of steps.
        enabled: whether to show the progress; True on one rank only.
        """
        self.total, self.done, self.label = total, done, label
        live = enabled and sys.stderr.isatty()
        self._bar = tqdm(total=total, initial=done, desc=label, unit="step", smoothing=0.05) if live else None
        self._lines = enabled and not live
        self._first, self._start, self._last = done, time.monotonic(), 0.0

    def advance(self, values: str) -> None:
        """Count one more step, and show the latest figures, `values`."""
        self.done += 1
        now = time.monotonic()
        if self._bar is not None:
            self._bar.set_postfix_str(values, refresh=False)
            self._bar.update()
        elif self._lines and (now - self._last > SECONDS_BETWEEN_LINES or self.done == self.total):
            self._last = now
            seconds_left = (now - self._start) / (self.done - self._first) * (self.total - self.done)
            left = duration(round(seconds_left))
            print(f"{self.label} {self.done}/{self.total}  {values}  remaining {left}", file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """Print a line above the progress bar, and log it."""
        LOG.info(text)
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        elif self._lines:
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Close the progress bar."""
        if self._bar is not None:
            self._bar.close()
