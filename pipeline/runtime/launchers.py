"""A rank whose launcher has been killed saves and ends, as after a SIGTERM.

A launcher killed by SIGKILL, or `deepspeed`, which does not forward SIGTERM, leaves its ranks running. The kernel's
parent-death signal does not help: between `deepspeed` and its ranks there is a second process, which survives.
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
    """Indices of those ancestors of a rank that belong to its launcher, without the shell or login above it.

    Args:
        ancestors: command lines, the parent's first.
    """
    if not ancestors or not _is(_OF_RANKS, ancestors[0]):
        return []
    found = [0]
    if any("deepspeed.launcher.launch" in word for word in ancestors[0][:4]):
        # On this machine `deepspeed` is above it; on others sshd, with a shell between, whose end is the connection's.
        above = next((n for n, line in enumerate(ancestors) if n and not _is(_SHELL, line)), 0)
        if above and (_is(_DEEPSPEED, ancestors[above]) or _is(_SSHD, ancestors[above])):
            found = list(range(above + 1))
    return found


def _is(program: re.Pattern[str], line: Sequence[str]) -> bool:
    """Whether a command line runs `program`, itself or by an interpreter, as a script or as a module."""
    paths = [word.split()[0] for word in line[:4] if word.strip() and not word.startswith("-")]
    words = [os.path.basename(path).rstrip(":") for path in paths]  # a daemon's title: "sshd: root@notty"
    return any(program.fullmatch(word) for word in words)


@contextmanager
def following_launcher() -> Iterator[None]:
    """Send this process SIGTERM if its launcher ends while the block runs; a process without one is left alone."""
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
    except psutil.Error:  # one has just ended, or this user may not look at others
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
