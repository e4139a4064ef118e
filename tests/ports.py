"""TCP ports for servers of tests.

They are not chosen by the kernel, which may give a port to a connection of another process before the server listens
there. They lie below the range of connections, which begins at 32,768, and below the ports of jobs, which begin at
20,000; each worker of pytest has its own.
"""

import os
import socket
from contextlib import suppress
from itertools import cycle

_PER_WORKER = 500
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 20
_FIRST = 10_000 + _PER_WORKER * _WORKER
_PORTS = cycle(range(_FIRST, _FIRST + _PER_WORKER))


def free_port() -> int:
    """Return a port that no process uses now, and that no other test of this session will use soon."""
    while True:
        port = next(_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("", port))
            return port


def free_ports(number: int) -> list[int]:
    """Return the given number of ports, as `free_port` returns them."""
    return [free_port() for _ in range(number)]
