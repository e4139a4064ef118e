"""Exit statuses and error messages of the entry points: a user error is one line on one rank, and no rank hangs."""

import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType

from jsonargparse import ArgumentError, set_parsing_settings

from pipeline.runtime.errors import ERROR, FAULT, INTERRUPTED, SUCCESS, USAGE, PeerError
from pipeline.runtime.signals import InterruptedRunError

set_parsing_settings(docstring_parse_attribute_docstrings=True)  # docstrings of fields are the help of options

USER_ERRORS = (ValueError, OSError, FloatingPointError)


def program(module: str) -> str:
    """The command as it was called, for help and errors: the name of the installed one, else `python -m MODULE`."""
    called = Path(sys.argv[0]).name
    return called if called.startswith("bert-") else f"python -m {module}"


def main(run: Callable[[list[str]], None]) -> None:
    """Call `run` with the command line's arguments and exit.

    The exit status is 0 after success and after `--help`, 1 after an error that a user can correct (one line,
    `error: ...`), 2 after a wrong command line, 75 for a run that was asked to stop and resumes when it is restarted,
    and 70 after a fault, a bug or a lost rank, with its traceback. An error that all ranks meet is printed once.
    """
    status = _status_of(run)
    distributed = _distributed()
    if distributed and status != FAULT:  # after the loss of a rank, shutdown may wait for ever
        distributed.shutdown()
    # Not sys.exit: gloo and DeepSpeed may leave threads behind whose destruction, as the interpreter ends, aborts the
    # process now and then; a finished run would be reported as failed. All files are closed by now.
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # their reader may be gone
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
