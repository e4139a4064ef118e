"""What the entry points share: user errors become one line and a non-zero exit, on every rank, without a hang."""

import os
import sys
import traceback
from collections.abc import Callable

from jsonargparse import ArgumentError

from pipeline import distributed
from pipeline.signals import InterruptedRunError

USER_ERRORS = (ValueError, OSError, FloatingPointError)
SUCCESS, ERROR, USAGE, FAULT, INTERRUPTED = 0, 1, 2, 70, 75
"""Exit statuses; 70 and 75 are EX_SOFTWARE and EX_TEMPFAIL of sysexits.h."""


def main(run: Callable[[list[str]], None]) -> None:
    """Call `run` with the command line's arguments and exit.

    Exit status 1 for what a user can put right (one line, `error: ...`), 2 for a wrong command line, 75 for a run that
    was asked to stop and goes on when it is started again, 70 for faults: our own mistakes, and lost ranks, with their
    traceback. An error that every rank meets alike is printed once.
    """
    try:
        run(sys.argv[1:])
        status = SUCCESS
    except ArgumentError as error:
        status = _report(error, USAGE)
    except distributed.PeerError:
        status = ERROR
    except USER_ERRORS as error:
        status = _report(error, ERROR)
    except InterruptedRunError:
        status = INTERRUPTED
    except BaseException:
        traceback.print_exc()
        status = FAULT
    if status != FAULT:  # among lost ranks, leaving in good order may take for ever
        distributed.shutdown()
    # Not sys.exit: gloo and DeepSpeed may leave threads behind whose destruction, as the interpreter ends, aborts the
    # process now and then; a finished run would be reported as failed. All files are closed by now.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _report(error: Exception, status: int) -> int:
    """Print `error` unless the first rank prints the same one."""
    alike = not distributed.joined()
    if not alike or os.environ.get("RANK", "0") == "0":
        print(f"error: {error}", file=sys.stderr, flush=True)
    return status
