"""Ranks as threads of one process, whose collectives count their bytes."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from pipeline.optim.exchange import Ranks


class SimulatedRanks:
    """Collectives of `size` threads. A failing rank ends the others, which would wait for it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.sent = [0] * size
        """Bytes that each rank has sent to others in all-to-alls."""
        self.calls = [0] * size
        """All-to-alls that each rank has taken part in."""
        self._barrier = threading.Barrier(size)
        self._given: list[Any] = [None] * size

    def run(self, function: Callable[[int], Any]) -> list[Any]:
        """Call `function(rank)` on all ranks at once; returns the results in rank order."""

        def guarded(rank: int) -> Any:
            try:
                return function(rank)
            except BaseException:
                self._barrier.abort()
                raise

        with ThreadPoolExecutor(self.size) as threads:
            futures = [threads.submit(guarded, rank) for rank in range(self.size)]
        errors = [error for future in futures if (error := future.exception()) is not None]
        for error in sorted(errors, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
            raise error
        return [future.result() for future in futures]

    def ranks(self, rank: int) -> Ranks:
        """Return what rank `rank` passes to the optimizer."""

        def all_to_all(received: torch.Tensor, sent: torch.Tensor, sources: list[int], destinations: list[int]) -> None:
            assert len(received) == sum(sources) and len(sent) == sum(destinations)
            assert destinations[rank] == 0, "what stays is not sent"
            self.calls[rank] += 1
            self.sent[rank] += sent.nbytes
            parts = [given[rank] for given in self.meet(rank, sent.split(destinations))]
            assert [len(part) for part in parts] == sources, "both sides agree on the sizes"
            received.copy_(torch.cat(parts))

        return Ranks(rank, self.size, all_to_all, lambda value: self.meet(rank, value))

    def all_reduce(self, rank: int) -> Callable[[torch.Tensor], Any]:
        """Return a function that sums a tensor over the ranks in place."""
        return lambda tensor: tensor.copy_(torch.stack(self.meet(rank, tensor.clone())).sum(0))

    def meet(self, rank: int, value: Any) -> list[Any]:
        """Return the values of all ranks."""
        self._given[rank] = value
        self._barrier.wait()
        values = list(self._given)
        self._barrier.wait()
        return values
