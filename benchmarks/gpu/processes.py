"""A command that is ended at its deadline together with all processes that it has started.

A section starts trainings, which start workers. If one of them outlived its section, it would slow down the next ones.
"""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

_SECONDS_TO_END = 10
"""How long killed processes may take to end; the memory that they have on a GPU is freed in this time."""
_SECONDS_BETWEEN_LOOKS = 0.05


def run(command: list[str], seconds: float, log: Path) -> int | None:
    """Run a command in a session of its own and append its output to a log; no process of it is left behind.

    Returns:
        Its exit status, or None if it was killed at the deadline.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    try:
        return wait(process, seconds)
    finally:  # of an interrupted benchmark, too
        end(process)


def wait(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """Exit status of a process, or None if it still runs after this time."""
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return None


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill the leader of a session, if it still runs, and all processes of its session; warn of those that do not end.

    Descendants of a leader that still runs are killed in whatever group and session they are.
    """
    family: set[psutil.Process] = set()
    if process.poll() is None:  # afterwards its children have another parent
        family |= set(psutil.Process(process.pid).children(recursive=True))
    limit = time.monotonic() + _SECONDS_TO_END
    while left := {member for member in family | members(process.pid) if is_running(member)}:
        if time.monotonic() > limit:
            pids = sorted(member.pid for member in left)
            print(f"processes {pids} do not end; they may slow down the next sections", file=sys.stderr, flush=True)
            return
        for member in left:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    process.wait()


def members(session: int) -> set[psutil.Process]:
    """The processes of a session."""
    return {process for process in psutil.process_iter() if session_of(process.pid) == session}


def session_of(pid: int) -> int | None:
    """Session of a process, or None if it has ended."""
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def is_running(process: psutil.Process) -> bool:
    """Whether a process has not ended; one that its parent has not waited for has."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
