"""Exchange of matrices between ranks that hold fragments of them, as under ZeRO.

Each matrix has an owner, a rank that receives the fragments of the matrix from all others and sends the updated
fragments back. The owners are a function of the shapes and of the fragments of all ranks, which the ranks exchange
once, so that every rank knows what it sends to and receives from each other rank. Collecting all matrices and giving
them back then needs one all-to-all each. This module does not use a process group itself; `Ranks` provides the two
operations that it needs."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor

AllToAll = Callable[[Tensor, Tensor, list[int], list[int]], Any]
"""(received, sent, sizes by source, sizes by destination): exchanges consecutive parts of flat tensors."""
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Ranks:
    """The ranks that hold the fragments, and their communication; the default is a single process."""

    rank: int = 0
    size: int = 1
    all_to_all: AllToAll = lambda received, sent, sources, destinations: received.copy_(sent)
    gather: Callable[[Any], list[Any]] = lambda value: [value]
    """Gathers a small object of each rank, in the order of the ranks, on every rank."""


ALONE = Ranks()


class Held(NamedTuple):
    """A fragment that a rank holds: elements [offset, offset + length) of a matrix."""

    matrix: int
    offset: int
    length: int


class Exchange:
    """Collects matrices at their owners and gives them back."""

    def __init__(
        self,
        shapes: Sequence[Shape],
        work: Sequence[int],
        tables: Sequence[Sequence[Held]],
        ranks: Ranks,
        *,
        device: torch.device,
        replicated: bool = False,
    ) -> None:
        """Args:
            shapes: (rows, cols) of each matrix.
            work: cost of the update of each matrix for its owner, in any unit.
            tables: for each rank the fragments that it holds, in the order in which it passes them to `collect`.
            ranks: this rank and the others.
            device: device of the fragments.
            replicated: whether every rank holds all matrices, so that nothing has to be collected.

        Raises:
            ValueError: the fragments of all ranks do not contain each element of the matrices once.
        """
        self.shapes, self.ranks, self.device, self.replicated = shapes, ranks, device, replicated
        for table in tables if replicated else [list(chain(*tables))]:
            check_cover(shapes, table)
        self.mine = tables[ranks.rank]
        self.owners = choose_owners(work, tables, ranks.size)
        self._owned_by: dict[int, list[int]] = defaultdict(list)  # rank -> numbers of my fragments that it owns
        for number, held in enumerate(self.mine):
            self._owned_by[self.owners[held.matrix]].append(number)
        self._of_mine = [[held for held in table if self.owners[held.matrix] == ranks.rank] for table in tables]
        self._travels = any(self.owners[held.matrix] != rank for rank, table in enumerate(tables) for held in table)

    def collect(self, values: Sequence[Tensor]) -> dict[int, Tensor]:
        """Send fragments to the owners of their matrices.

        Args:
            values: the fragments of this rank, (length,) fp32 each.

        Returns:
            The matrices that this rank owns, (rows, cols) fp32, by their number; possibly views of `values`.
        """
        parts = [(self.mine[number], values[number]) for number in self._owned_by[self.ranks.rank]]
        if self._travels and not self.replicated:
            sent = {rank: [values[number] for number in self._owned_by[rank]] for rank in self._others()}
            sizes = {rank: [held.length for held in self._of_mine[rank]] for rank in self._others()}
            for rank, received in self._exchange(sent, sizes).items():
                parts += zip(self._of_mine[rank], received, strict=True)
        whole: dict[int, Tensor] = {}
        for held, part in parts:
            shape = self.shapes[held.matrix]
            if held.length == torch.Size(shape).numel():
                whole[held.matrix] = part.view(shape)
                continue
            if held.matrix not in whole:
                whole[held.matrix] = torch.empty(shape, device=self.device)
            whole[held.matrix].view(-1)[held.offset : held.offset + held.length] = part
        return whole

    def give_back(self, whole: Mapping[int, Tensor]) -> list[Tensor]:
        """Send each rank its fragments of the matrices that this rank owns.

        Args:
            whole: the matrices that this rank owns, contiguous (rows, cols) fp32, by their number.

        Returns:
            The fragments of this rank, (length,) fp32 each.
        """

        def part(held: Held) -> Tensor:
            return whole[held.matrix].view(-1)[held.offset : held.offset + held.length]

        found = {number: part(self.mine[number]) for number in self._owned_by[self.ranks.rank]}
        if self._travels:
            sent = {rank: [part(held) for held in self._of_mine[rank]] for rank in self._others()}
            sizes = {rank: [self.mine[number].length for number in self._owned_by[rank]] for rank in self._others()}
            for rank, received in self._exchange(sent, sizes).items():
                found |= zip(self._owned_by[rank], received, strict=True)
        return [found[number] for number in range(len(self.mine))]

    def _others(self) -> list[int]:
        return [rank for rank in range(self.ranks.size) if rank != self.ranks.rank]

    def _exchange(self, sent: dict[int, list[Tensor]], sizes: dict[int, list[int]]) -> dict[int, tuple[Tensor, ...]]:
        """Send tensors by destination, and return the received ones, of the given sizes, by source; one all-to-all."""
        everyone = range(self.ranks.size)
        parts = [part for rank in everyone for part in sent.get(rank, [])]
        outgoing = torch.cat(parts) if parts else torch.empty(0, device=self.device)
        sources = [sum(sizes.get(rank, [])) for rank in everyone]
        destinations = [sum(len(part) for part in sent.get(rank, [])) for rank in everyone]
        received = torch.empty(sum(sources), device=self.device)
        self.ranks.all_to_all(received, outgoing, sources, destinations)
        return {rank: part.split(sizes[rank]) for rank, part in enumerate(received.split(sources)) if rank in sizes}


def check_cover(shapes: Sequence[Shape], table: Sequence[Held]) -> None:
    """Check that fragments contain each element of the matrices once.

    Raises:
        ValueError: they are not.
    """
    reached, joins = [0] * len(shapes), True
    for matrix, offset, length in sorted(table):
        joins &= offset == reached[matrix]
        reached[matrix] += length
    if not joins or reached != [torch.Size(shape).numel() for shape in shapes]:
        raise ValueError("the fragments of all ranks are not whole matrices; bind the optimizer with all ranks")


def choose_owners(work: Sequence[int], tables: Sequence[Sequence[Held]], size: int) -> list[int]:
    """Choose the rank that owns each matrix, which balances the work of the ranks and then reduces communication.

    Matrices are assigned in descending order of work to the rank with the least work so far; the maximum over the
    ranks is then at most 4/3 of the optimum (Graham 1969). A matrix is assigned to the rank that holds most of it if
    this does not increase the maximum.

    Args:
        work: cost of the update of each matrix.
        tables: the fragments of each rank.
        size: number of ranks.

    Returns:
        The rank of each matrix, which is the same on all ranks.
    """
    elements: list[Counter[int]] = [Counter() for _ in work]  # number of elements by rank, in ascending order of ranks
    for rank, table in enumerate(tables):
        for held in table:
            elements[held.matrix][rank] += held.length

    def deal(limit: int) -> tuple[list[int], int]:
        owners, loads = [0] * len(work), [0] * size
        for matrix in sorted(range(len(work)), key=lambda matrix: -work[matrix]):
            rank = elements[matrix].most_common(1)[0][0]
            if loads[rank] + work[matrix] > limit:
                rank = loads.index(min(loads))
            owners[matrix] = rank
            loads[rank] += work[matrix]
        return owners, max(loads)

    balanced, limit = deal(-1)
    local, longest = deal(limit)
    return local if longest <= limit else balanced
