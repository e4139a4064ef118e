"""What the entry points share: user errors become one line and a non-zero exit, on every rank, without a hang."""

import os
import sys
from collections.abc import Callable

from jsonargparse import ArgumentError

from pipeline import distributed

USER_ERRORS = (ValueError, OSError, FloatingPointError)


def main(run: Callable[[list[str]], None]) -> None:
    """Call `run` with the command line's arguments and exit.

    Exit status 1 for what a user can put right (one line, `error: ...`), 2 for a wrong command line. Other exceptions
    are our own mistakes and keep their traceback. An error that every rank meets alike is printed once.
    """
    try:
        run(sys.argv[1:])
        status = 0
    except ArgumentError as error:
        status = _report(error, 2)
    except distributed.PeerError:
        status = 1
    except USER_ERRORS as error:
        status = _report(error, 1)
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
