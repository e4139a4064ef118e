"""Detection of a killed launcher: its ranks save and end as after a SIGTERM.

A launcher that is killed by SIGKILL leaves its ranks running, and so does `deepspeed`, which does not forward SIGTERM.
The parent-death signal of Linux does not help, because there is a second process between `deepspeed` and its ranks,
which keeps running.
"""

import os
import re
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psutil

from pipeline.runtime.logger import LOG

SECONDS_BETWEEN_LOOKS = 1.0

_OF_RANKS = re.compile(
    r"deepspeed\.launcher\.launch|torchrun|torch\.distributed\.(run|launch)|mpirun|mpiexec|prterun|prted|orted|"
    r"hydra_pmi_proxy|slurmstepd"
)
"""Launchers that start ranks as their own children."""
_SHELL = re.compile(r"(ba|da|k|z)?sh")
_DEEPSPEED, _SSHD = re.compile(r"deepspeed(\.launcher\.runner)?"), re.compile(r"sshd(-session)?")


def launchers(ancestors: Sequence[Sequence[str]]) -> list[int]:
    """Indices of the ancestors of a rank that belong to its launcher, without the shell or login that started it.

    Args:
        ancestors: command lines of the ancestors of the rank, its parent first.
    """
    if not ancestors or not _is(_OF_RANKS, ancestors[0]):
        return []
    found = [0]
    if any("deepspeed.launcher.launch" in word for word in ancestors[0][:4]):
        # Its ancestor is `deepspeed` on the first machine, and sshd, which ends with the connection, on the others;
        # there may be a shell in between.
        above = next((n for n, line in enumerate(ancestors) if n and not _is(_SHELL, line)), 0)
        if above and (_is(_DEEPSPEED, ancestors[above]) or _is(_SSHD, ancestors[above])):
            found = list(range(above + 1))
    return found


def _is(program: re.Pattern[str], line: Sequence[str]) -> bool:
    """Whether a command line runs `program`, directly or by an interpreter, as a script or as a module."""
    paths = [word.split()[0] for word in line[:4] if word.strip() and not word.startswith("-")]
    words = [os.path.basename(path).rstrip(":") for path in paths]  # the title of a daemon is "sshd: root@notty"
    return any(program.fullmatch(word) for word in words)


@contextmanager
def following_launcher() -> Iterator[None]:
    """Send SIGTERM to this process if its launcher ends while the block runs; nothing happens without a launcher."""
    over = threading.Event()
    threading.Thread(target=_watch, args=(_own_launchers(), over), name="launcher", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _own_launchers() -> list[psutil.Process]:
    try:
        ancestors = psutil.Process().parents()
        return [ancestors[number] for number in launchers([process.cmdline() for process in ancestors])]
    except psutil.Error:  # an ancestor has just ended, or this user may not inspect it
        return []


def _watch(watched: list[psutil.Process], over: threading.Event) -> None:
    while watched and not over.wait(SECONDS_BETWEEN_LOOKS):
        if gone := [process.pid for process in watched if not _alive(process)]:
            LOG.warning(f"the launcher, process {gone[0]}, has ended; the run saves and ends")
            os.kill(os.getpid(), signal.SIGTERM)
            return


def _alive(process: psutil.Process) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
