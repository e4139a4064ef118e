"""Blocks of memory in the order in which they are taken and given back, and how much memory that needs.

Two answers. `most_live` is what is in use at the fullest moment; a caching allocator (CUDA's) comes close to it.
`high_water` is the size of a heap that never shrinks and whose blocks cannot be moved: what a CPU process has resident,
because `pipeline.engine.engine` tells glibc to keep freed memory. The two are far apart: the holes that a layer's
activations leave are cut up by what is taken in between, and a copy of all gradients finds none of its size."""

from bisect import bisect_left, insort
from collections import Counter

WASTE = 1.1
"""How much larger than a block the hole may be that it is put into."""


class Timeline:
    """Records blocks; sizes in bytes."""

    def __init__(self) -> None:
        self._events: list[tuple[int, str, int]] = []  # (block, part, size), of negative size where it is given back
        self._phases: list[tuple[int, str]] = []  # number of events before a phase, its name

    def phase(self, name: str) -> None:
        """What follows belongs to it."""
        self._phases.append((len(self._events), name))

    def take(self, part: str, size: int) -> int:
        """A new block, counted under `part`; returns its name for `give`."""
        assert size >= 0, f"{part}: {size} bytes"
        self._events.append((len(self._events), part, size))
        return len(self._events) - 1

    def give(self, *blocks: int) -> None:
        """Give blocks back."""
        for block in blocks:
            _, part, size = self._events[block]
            self._events.append((block, part, -size))

    def most_live(self) -> tuple[Counter[str], str]:
        """Bytes of each part at the moment when most are in use, and the phase in which that is."""
        live: Counter[str] = Counter()
        total = most = fullest = 0
        best = live.copy()
        for number, (_, part, size) in enumerate(self._events):
            live[part] += size
            total += size
            if total > most:
                most, fullest, best = total, number, live.copy()
        return best, next((name for start, name in reversed(self._phases) if start <= fullest), "")

    def high_water(self) -> int:
        """Bytes that a heap grows to which puts a block into a hole of about its size, and splits and joins none.

        A model of glibc's heap under training, not glibc's algorithm: that one does split and join, but torch asks for
        aligned blocks, which need more than the hole that an equal block has left, and small things that stay (oneDNN's
        kernels, Python's objects) lie between the large ones.
        """
        holes: list[int] = []
        where: dict[int, int] = {}
        top = 0
        for number, (block, _, size) in enumerate(self._events):
            if block != number:
                insort(holes, where.pop(block))
                continue
            index = bisect_left(holes, size)
            if index < len(holes) and holes[index] <= WASTE * size:
                where[block] = holes.pop(index)
            else:
                where[block] = size
                top += size
        return top
