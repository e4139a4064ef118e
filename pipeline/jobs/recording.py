"""Record of how a run ends, in its log and its events."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pipeline.runlog.events import Events
from pipeline.runtime.command import USER_ERRORS
from pipeline.runtime.logger import LOG
from pipeline.runtime.signals import InterruptedRunError


@contextmanager
def recorded_end(events: Events) -> Iterator[None]:
    """Record the cause if the block ends by a stop signal or an error, which is raised again."""
    try:
        yield
    except InterruptedRunError as interrupted:
        LOG.info(f"ended after {interrupted} with everything saved; the run continues when it is restarted")
        events.write("interrupted", signal=str(interrupted))
        events.beat("interrupted")
        raise
    except BaseException as error:
        LOG.error(f"ended by an error: {error}", exc_info=not isinstance(error, USER_ERRORS))
        with suppress(OSError):  # the disk may be full
            events.write("failed", error=f"{type(error).__name__}: {error}")
            events.beat("failed")
        raise
