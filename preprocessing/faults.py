"""Faults on demand, for tests: something happens at a chosen file, whichever process comes to write it.

`PREPROCESSING_FAULT="ACTION:POINT:FILE"` does ACTION when a file whose path ends in FILE reaches POINT: `written`, with
its content complete under its temporary name, or `published`, under its final name. Which process writes a file, and
when, is the scheduler's choice; that it is written is not. Without the variable, `reach` does nothing.
"""

import errno
import os
import signal
import time
from itertools import count
from pathlib import Path

VARIABLE = "PREPROCESSING_FAULT"
POINTS = ("written", "published")
"""In the order in which a file meets them."""
ACTIONS = "kill, kill-group, hang, full, or the name of a signal such as SIGTERM"


def reach(point: str, path: Path) -> None:
    """Note that a file has reached a point, and do there what PREPROCESSING_FAULT asks for.

    Raises:
        ValueError: it names no point or no action.
        OSError: it asks for a full disk.
    """
    wanted = os.environ.get(VARIABLE)
    if wanted is None:
        return
    action, place, name = wanted.split(":")
    if place not in POINTS:
        raise ValueError(f"{VARIABLE} = {wanted}: no point is called {place!r}; there are {', '.join(POINTS)}")
    if place == point and str(path).endswith(name):
        act(action, f"{VARIABLE} = {wanted}")


def act(action: str, source: str) -> None:
    """Make a fault happen.

    Args:
        action: `kill` (SIGKILL to this process), `kill-group` (to its process group), `hang` (never go on), `full` (as
            if the disk were full), or a signal's name (to this process).
        source: what asked for it, for errors.

    Raises:
        ValueError: there is no such action.
        OSError: `full`.
    """
    if action == "kill-group":
        os.killpg(os.getpgrp(), signal.SIGKILL)
    elif action == "hang":
        for _ in count():
            time.sleep(1)
    elif action == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), source)
    else:
        name = "SIGKILL" if action == "kill" else action
        if name not in signal.Signals.__members__:
            raise ValueError(f"{source}: no action is called {action!r}; there are {ACTIONS}")
        os.kill(os.getpid(), signal.Signals[name])
