"""TCP ports for servers of tests.

Not those that the kernel chooses: between the moment it names one and the moment a server listens there, it may give
the same one to another process's connection. These lie below the range that connections come from (from 32,768 on),
and each worker of pytest has its own.
"""

import os
import socket
from contextlib import suppress
from itertools import cycle

_PER_WORKER = 1_000
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 20
_FIRST = 10_000 + _PER_WORKER * _WORKER
_PORTS = cycle(range(_FIRST, _FIRST + _PER_WORKER))


def free_port() -> int:
    """A port that nobody uses now, and no other test of this session soon."""
    while True:
        port = next(_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("", port))
            return port


def free_ports(number: int) -> list[int]:
    """The given number of ports, as `free_port` returns them."""
    return [free_port() for _ in range(number)]
