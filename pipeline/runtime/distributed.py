"""Ranks and reductions, also for a single process without a process group."""

import ipaddress
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from pipeline.runtime.errors import ERROR, PeerError

T = TypeVar("T")


_REASON = "why the ranks end"
_SECONDS_FOR_REASON = 20


class _Control:
    group: Any = None
    """Process group for control messages; None stands for the default group."""
    store: Any = None
    """The rendezvous store; None in a single process."""


_control = _Control()


def joined() -> bool:
    """Whether there is a process group."""
    return dist.is_initialized()


def rank() -> int:
    """This process's number among all, 0 without a process group."""
    return dist.get_rank() if joined() else 0


def world_size() -> int:
    """Number of processes, 1 without a process group."""
    return dist.get_world_size() if joined() else 1


def local_world_size() -> int:
    """Number of processes on this machine, from the launcher's variables."""
    return int(os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("LOCAL_SIZE") or 1)


def is_main() -> bool:
    """True on the one process that prints and writes shared files."""
    return rank() == 0


def join(backend: str, timeout: timedelta) -> None:
    """Join the process group that the environment describes; without RANK there, one of this process alone.

    The rendezvous listens on MASTER_ADDR only, and on the loopback address where all ranks are on one machine;
    PyTorch's own rendezvous listens on all addresses of the machine. (Under torchrun the store is torchrun's.)

    Args:
        backend: "nccl" or "gloo".
        timeout: how long a rank waits for the others.

    Raises:
        OSError: the address is not this machine's, or the port is taken.
    """
    if joined():
        return
    os.environ.setdefault("RANK", "0")
    os.environ.setdefault("LOCAL_RANK", "0")
    size = int(os.environ.setdefault("WORLD_SIZE", "1"))
    if local_world_size() == size:
        for library in ("GLOO", "NCCL"):
            os.environ.setdefault(f"{library}_SOCKET_IFNAME", "lo")
    number = int(os.environ["RANK"])
    if size == 1:
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1, timeout=timeout)
        return
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        dist.init_process_group(backend, timeout=timeout)
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        _control.store = dist.TCPStore(host, port, size, is_master=False, timeout=timeout, wait_for_workers=False)
    else:
        _control.store = _store(number, size, timeout)
        dist.init_process_group(backend, store=_control.store, rank=number, world_size=size, timeout=timeout)
    # The control group uses gloo, in host memory, so that control messages wait for no device.
    _control.group = dist.new_group(backend="gloo", timeout=timeout)


def _store(number: int, size: int, timeout: timedelta) -> dist.Store:
    """The rendezvous store, which rank 0 serves."""
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    if number > 0:
        return dist.TCPStore(host, port, size, is_master=False, timeout=timeout, wait_for_workers=False)
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        if local_world_size() < size and ipaddress.ip_address(address[0]).is_loopback:
            # /etc/hosts may call a machine's own name 127.0.1.1, where the other machines cannot reach it.
            family, address = socket.AF_INET, ("", port)
        listener = socket.create_server(address[:2], family=family, backlog=4096)
    except OSError as error:
        message = f"MASTER_ADDR, MASTER_PORT = {host}, {port}: rank 0 cannot listen there ({error.strerror})"
        raise OSError(error.errno, message) from None
    return dist.TCPStore(
        host, port, size, is_master=True, timeout=timeout, wait_for_workers=False, master_listen_fd=listener.detach()
    )


def all_reduce_sum_(tensor: Tensor) -> Tensor:
    """Sum `tensor` over all ranks in place, and return it."""
    if world_size() > 1:
        dist.all_reduce(tensor)
    return tensor


def all_to_all(received: Tensor, sent: Tensor, sources: list[int], destinations: list[int]) -> None:
    """Send consecutive parts of a flat tensor to all ranks, and receive one from each.

    Args:
        received: (n,) written; the parts in the order of the ranks.
        sent: (m,) the parts in the order of the ranks.
        sources: numbers of elements received from each rank; their sum is n.
        destinations: numbers of elements sent to each rank; their sum is m.
    """
    if world_size() == 1:
        received.copy_(sent)
    else:
        dist.all_to_all_single(received, sent, sources, destinations)


def all_reduce_max(value: float, device: torch.device) -> float:
    """The largest `value` of all ranks."""
    if world_size() == 1:
        return value
    tensor = torch.tensor(value, dtype=torch.float64, device=device)
    dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
    return float(tensor)


def gather_objects(value: T) -> list[T]:
    """Every rank's `value`, in rank order, on every rank. For a few small objects, not for tensors."""
    if world_size() == 1:
        return [value]
    values: list[T] = [value] * world_size()
    dist.all_gather_object(values, value, group=_control.group)
    return values


class Votes:
    """Element-wise maxima over the ranks of a few integers, reduced while the device computes.

    Between `cast` and `outcome` nothing else may use the control group (`gather_objects`, `together`).
    """

    def __init__(self) -> None:
        self._values = torch.zeros(0, dtype=torch.int64)
        self._pending: Any = None

    def cast(self, values: Sequence[int]) -> None:
        """Begin a vote with this rank's `values`."""
        self._values = torch.tensor(values, dtype=torch.int64)
        if world_size() > 1:
            self._pending = dist.all_reduce(self._values, op=dist.ReduceOp.MAX, group=_control.group, async_op=True)

    def outcome(self) -> list[int]:
        """The maxima over all ranks; waits until each has cast its vote."""
        if self._pending is not None:
            self._pending.wait()
            self._pending = None
        return [int(value) for value in self._values]


def shutdown() -> None:
    """Leave the process group; without it gloo's threads abort the interpreter's exit."""
    if joined():
        dist.destroy_process_group()
    _control.group = _control.store = None


def reason_is_told(status: int) -> None:
    """Tell the other ranks that this one has printed the error, and the exit status with which all of them end."""
    if _control.store is not None:
        with suppress(RuntimeError):  # rank 0, which serves the store, may be gone
            _control.store.set(_REASON, str(status))


def wait_for_reason() -> int:
    """Wait until another rank has printed its error, and return the exit status that it gave.

    A launcher kills all ranks as soon as the first one has ended, and takes the status of that one for the job's.
    """
    if _control.store is not None:
        with suppress(RuntimeError):
            _control.store.wait([_REASON], timedelta(seconds=_SECONDS_FOR_REASON))
            return int(_control.store.get(_REASON))
    return ERROR


@contextmanager
def together(action: str) -> Iterator[None]:
    """Run a block on every rank, and fail on all of them if it fails on any.

    If a rank failed alone, the others would wait in their next collective until its timeout; here every rank sends its
    result to the others first. The block itself must not communicate.

    Args:
        action: a verb phrase for the message: "load the checkpoint".

    Raises:
        Exception: the block's own, on the first rank that failed with this message.
        PeerError: on the others.
    """
    error = None
    try:
        yield
    except Exception as caught:
        error = caught
    messages = gather_objects(None if error is None else f"{type(error).__name__}: {error}")
    if error is not None and messages.index(f"{type(error).__name__}: {error}") == rank():
        raise error
    failed = [number for number, message in enumerate(messages) if message is not None]
    if failed:
        raise PeerError(f"rank {failed[0]} could not {action}; its message says why")
