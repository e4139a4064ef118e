"""Fault injection for tests: a fault occurs when a chosen file is written, by whichever process writes it.

`PREPROCESSING_FAULT="ACTION:POINT:FILE"` performs ACTION when a file whose path ends in FILE reaches POINT: `written`,
complete under its temporary name, or `published`, under its final name. Scheduling determines which process writes a
file, and when, but not that it is written. Without the variable, `reach` does nothing.
"""

import errno
import os
import signal
import time
from itertools import count
from pathlib import Path

VARIABLE = "PREPROCESSING_FAULT"
POINTS = ("written", "published")
"""Points in the order in which a file reaches them."""
ACTIONS = "kill, kill-group, hang, full, or the name of a signal such as SIGTERM"


def reach(point: str, path: Path) -> None:
    """Performs the action of PREPROCESSING_FAULT if it is for this point and file.

    Raises:
        ValueError: the variable names an unknown point or action.
        OSError: the action is `full`.
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
    """Performs a fault.

    Args:
        action: `kill` (SIGKILL to this process), `kill-group` (SIGKILL to its process group), `hang` (sleep forever),
            `full` (an error as on a full disk), or the name of a signal to send to this process.
        source: the setting that requests the action, for error messages.

    Raises:
        ValueError: there is no such action.
        OSError: the action is `full`.
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
