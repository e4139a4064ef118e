"""Exit statuses and error messages of the entry points: one rank prints a user error in one line, and no rank hangs."""

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
from pipeline.runtime.terminal import tolerating_closed_output

set_parsing_settings(docstring_parse_attribute_docstrings=True)  # the docstring of a field is the help of its option

USER_ERRORS = (ValueError, OSError, FloatingPointError)


def program(module: str) -> str:
    """The command for help texts and errors: the name of the installed script, or `python -m MODULE`."""
    called = Path(sys.argv[0]).name
    return called if called.startswith("bert-") else f"python -m {module}"


def main(run: Callable[[list[str]], None]) -> None:
    """Call `run` with the command line's arguments and exit.

    The exit status is 0 after success and after `--help`, 1 after an error that a user can correct (one line,
    `error: ...`), 2 after a wrong command line, 75 for a run that received a stop signal and resumes when restarted,
    and 70, with a traceback, after a bug or the loss of a rank. An error that occurs on all ranks is printed once.
    Output that nothing reads any more is discarded, and the command goes on: its files may matter more than its output.
    """
    with tolerating_closed_output():
        status = _status_of(run)
    distributed = _distributed()
    if distributed and status != FAULT:  # after the loss of a rank, shutdown may wait forever
        distributed.shutdown()
    # Not sys.exit: gloo and DeepSpeed may leave threads running, and their destruction at the exit of the interpreter
    # sometimes aborts the process, so that a finished run would be reported as failed. All files are closed already.
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # nothing may be reading them any more
            stream.flush()
    os._exit(status)


def _status_of(run: Callable[[list[str]], None]) -> int:
    """Call `run`, print its error if it has one, and return the exit status."""
    try:
        run(sys.argv[1:])
    except SystemExit as ended:  # raised by argparse after it has printed the help or the configuration
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
    """Print `error`, and let the ranks that end because of it exit."""
    print(f"error: {error}", file=sys.stderr, flush=True)
    if distributed := _distributed():
        distributed.reason_is_told(status)
    return status


def _distributed() -> ModuleType | None:
    """The module `pipeline.runtime.distributed` if it has been imported; a help text does without it and torch."""
    return sys.modules.get("pipeline.runtime.distributed")
