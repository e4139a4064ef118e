"""Ranks and reductions that also work where there is no process group: one process is the plain case."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


class PeerError(RuntimeError):
    """Another rank failed; its own message says why."""


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
    """Number of processes on this machine, as the launcher said."""
    return int(os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("LOCAL_SIZE") or 1)


def is_main() -> bool:
    """True on the one process that prints and writes shared files."""
    return rank() == 0


def all_reduce_sum_(tensor: Tensor) -> Tensor:
    """Sum `tensor` over all ranks in place, and return it."""
    if world_size() > 1:
        dist.all_reduce(tensor)
    return tensor


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
    dist.all_gather_object(values, value)
    return values


def shutdown() -> None:
    """Leave the process group; without it gloo's threads abort the interpreter's exit."""
    if joined():
        dist.destroy_process_group()


@contextmanager
def together(action: str) -> Iterator[None]:
    """Run a block on every rank, and fail on all of them if it fails on any.

    A rank that fails alone leaves the others waiting in their next collective until a timeout; here each tells the
    others first. The block itself must not communicate.

    Args:
        action: what is done, for the message: "load the checkpoint".

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
