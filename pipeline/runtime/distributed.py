"""Process group, collectives and error handling across ranks; all work in a single process without a group too."""

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
    """Whether this process has joined a process group."""
    return dist.is_initialized()


def rank() -> int:
    """Rank of this process; 0 without a process group."""
    return dist.get_rank() if joined() else 0


def world_size() -> int:
    """Number of processes; 1 without a process group."""
    return dist.get_world_size() if joined() else 1


def local_world_size() -> int:
    """Number of processes on this machine, from the environment variables of the launcher; 1 without them."""
    return int(os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("LOCAL_SIZE") or 1)


def is_main() -> bool:
    """Whether this process is rank 0, which prints and writes shared files."""
    return rank() == 0


def join(backend: str, timeout: timedelta) -> None:
    """Join the process group that the environment variables describe; without RANK, a group of this process alone.

    The rendezvous store listens on MASTER_ADDR only, which is a loopback address if all ranks are on one machine;
    PyTorch's own rendezvous listens on all addresses of the machine. Under torchrun the store of torchrun is used.

    Args:
        backend: "nccl" or "gloo".
        timeout: how long a rank waits for the others.

    Raises:
        OSError: MASTER_ADDR is not an address of this machine, or MASTER_PORT is in use.
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
    # The control group uses gloo in host memory, so that control messages do not wait for the device.
    _control.group = dist.new_group(backend="gloo", timeout=timeout)


def _store(number: int, size: int, timeout: timedelta) -> dist.Store:
    """The rendezvous store; rank 0 is its server."""
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    if number > 0:
        return dist.TCPStore(host, port, size, is_master=False, timeout=timeout, wait_for_workers=False)
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        if local_world_size() < size and ipaddress.ip_address(address[0]).is_loopback:
            # /etc/hosts may map the machine's own name to 127.0.1.1, which other machines cannot reach.
            family, address = socket.AF_INET, ("", port)
        listener = socket.create_server(address[:2], family=family, backlog=4096)
    except OSError as error:
        message = (
            f"MASTER_ADDR, MASTER_PORT = {host}, {port}: rank 0 cannot listen there ({error.strerror}); give an "
            "address of its machine and a free port"
        )
        raise OSError(error.errno, message) from None
    return dist.TCPStore(
        host, port, size, is_master=True, timeout=timeout, wait_for_workers=False, master_listen_fd=listener.detach()
    )


def all_reduce_sum_(tensor: Tensor) -> Tensor:
    """Sum `tensor` of any shape over all ranks in place, and return it."""
    if world_size() > 1:
        dist.all_reduce(tensor)
    return tensor


def reduce_scatter_sum_(tensor: Tensor) -> None:
    """Sum a flat tensor over all ranks in place, at least in the part that belongs to this rank.

    gloo takes twice as long to reduce and scatter as to reduce on all ranks, so it does the latter.

    Args:
        tensor: (n,), of which rank r has the r-th of `world_size` equal parts. The others are undefined afterwards.
    """
    if world_size() == 1:
        return
    if dist.get_backend() == "gloo":
        dist.all_reduce(tensor)
    else:
        dist.reduce_scatter_tensor(tensor.chunk(world_size())[rank()], tensor)


def reduce_sum_(tensor: Tensor, owner: int) -> None:
    """Sum `tensor` of any shape over all ranks in place, at least on the rank `owner`; elsewhere it is undefined.

    gloo takes a third longer to reduce to one rank than to reduce on all, so it does the latter.
    """
    if world_size() == 1:
        return
    if dist.get_backend() == "gloo":
        dist.all_reduce(tensor)
    else:
        dist.reduce(tensor, owner)


def all_to_all(received: Tensor, sent: Tensor, sources: list[int], destinations: list[int]) -> None:
    """Send one part of a flat tensor to each rank, and receive one part from each.

    Args:
        received: (n,), overwritten with the received parts in the order of the ranks.
        sent: (m,), the parts to send in the order of the ranks.
        sources: number of elements received from each rank; their sum is n.
        destinations: number of elements sent to each rank; their sum is m.
    """
    if world_size() == 1:
        received.copy_(sent)
    else:
        dist.all_to_all_single(received, sent, sources, destinations)


def all_reduce_max(value: float, device: torch.device) -> float:
    """The maximum of `value` over all ranks, reduced on `device`."""
    if world_size() == 1:
        return value
    tensor = torch.tensor(value, dtype=torch.float64, device=device)
    dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
    return float(tensor)


def gather_objects(value: T) -> list[T]:
    """The `value` of every rank, in rank order, on every rank; for a few small objects, not for tensors."""
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
        """Start the reduction of `values`, of which every rank passes the same number."""
        self._values = torch.tensor(values, dtype=torch.int64)
        if world_size() > 1:
            self._pending = dist.all_reduce(self._values, op=dist.ReduceOp.MAX, group=_control.group, async_op=True)

    def outcome(self) -> list[int]:
        """The maxima over all ranks; waits until all have called `cast`."""
        if self._pending is not None:
            self._pending.wait()
            self._pending = None
        return [int(value) for value in self._values]


def shutdown() -> None:
    """Destroy the process group; otherwise the threads of gloo abort the process at the exit of the interpreter."""
    if joined():
        dist.destroy_process_group()
    _control.group = _control.store = None


def reason_is_told(status: int) -> None:
    """Inform the other ranks that this one has printed the error, and of the exit status with which all of them end."""
    if _control.store is not None:
        with suppress(RuntimeError):  # rank 0, the server of the store, may have ended
            _control.store.set(_REASON, str(status))


def wait_for_reason() -> int:
    """Wait until another rank has printed its error, and return the exit status that it passed to `reason_is_told`.

    A launcher kills all ranks as soon as the first one has ended, and reports the status of that one as the job's.
    """
    if _control.store is not None:
        with suppress(RuntimeError):
            _control.store.wait([_REASON], timedelta(seconds=_SECONDS_FOR_REASON))
            return int(_control.store.get(_REASON))
    return ERROR


@contextmanager
def together(action: str) -> Iterator[None]:
    """Run a block on every rank, and fail on all of them if it fails on any.

    If one rank failed alone, the others would wait in their next collective until its timeout; here the ranks exchange
    the outcome of the block first. The block itself must not communicate.

    Args:
        action: a verb phrase for the message of a PeerError, such as "load the checkpoint".

    Raises:
        Exception: the exception of the block; among the ranks with the same message, on the first one only.
        PeerError: the block failed on another rank.
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
