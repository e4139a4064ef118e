"""What the entry points share: user errors become one line and a non-zero exit, on every rank, without a hang."""

import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType

from jsonargparse import ArgumentError

from pipeline.runtime.errors import ERROR, FAULT, INTERRUPTED, SUCCESS, USAGE, PeerError
from pipeline.runtime.signals import InterruptedRunError

USER_ERRORS = (ValueError, OSError, FloatingPointError)


def program(module: str) -> str:
    """The command as it was called, for help and errors: the name of the installed one, else `python -m MODULE`."""
    called = Path(sys.argv[0]).name
    return called if called.startswith("bert-") else f"python -m {module}"


def main(run: Callable[[list[str]], None]) -> None:
    """Call `run` with the command line's arguments and exit.

    Exit status 0 also after `--help`, 1 for what a user can put right (one line, `error: ...`), 2 for a wrong command
    line, 75 for a run that was asked to stop and goes on when it is started again, 70 for faults: our own mistakes, and
    lost ranks, with their traceback. An error that every rank meets alike is printed once.
    """
    status = _status_of(run)
    distributed = _distributed()
    if distributed and status != FAULT:  # among lost ranks, leaving in good order may take for ever
        distributed.shutdown()
    # Not sys.exit: gloo and DeepSpeed may leave threads behind whose destruction, as the interpreter ends, aborts the
    # process now and then; a finished run would be reported as failed. All files are closed by now.
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # their reader may have gone
            stream.flush()
    os._exit(status)


def _status_of(run: Callable[[list[str]], None]) -> int:
    """Call `run`, print its error if it has one, and return the exit status."""
    try:
        run(sys.argv[1:])
    except SystemExit as ended:  # argparse, after it has printed the help or the configuration
        return ended.code if isinstance(ended.code, int) else SUCCESS if ended.code is None else ERROR
    except PeerError:
        distributed = _distributed()
        return distributed.wait_for_reason() if distributed else ERROR
    except InterruptedRunError:
        return INTERRUPTED
    except ArgumentError as error:
        return _report(error, USAGE)
    except USER_ERRORS as error:
        return _report(error, ERROR)
    except BaseException:
        traceback.print_exc()
        if distributed := _distributed():
            distributed.reason_is_told(FAULT)
        return FAULT
    return SUCCESS


def _report(error: Exception, status: int) -> int:
    """Print `error`; the ranks that end because of it may then leave."""
    print(f"error: {error}", file=sys.stderr, flush=True)
    if distributed := _distributed():
        distributed.reason_is_told(status)
    return status


def _distributed() -> ModuleType | None:
    """`pipeline.runtime.distributed` if it has been imported: it brings torch, which a help text does without."""
    return sys.modules.get("pipeline.runtime.distributed")
