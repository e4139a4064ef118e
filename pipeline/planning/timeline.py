"""Sequences of allocated and freed blocks, and the memory that they need.

`most_live` is the peak of allocated bytes, which a caching allocator such as CUDA's approaches. `high_water` is the
size of a heap that never shrinks and whose blocks cannot be moved: the resident set of a CPU process, in which
`pipeline.engine.engine` makes glibc keep freed memory. It is much larger because of fragmentation: smaller blocks are
placed in the free space of a layer's activations, which a copy of all gradients then does not fit into."""

from bisect import bisect_left, insort
from collections import Counter

WASTE = 1.1
"""Largest ratio of the size of a free block to that of the block placed in it."""


class Timeline:
    """Records allocations; sizes are in bytes."""

    def __init__(self) -> None:
        self._events: list[tuple[int, str, int]] = []  # (block, part, size); a negative size frees the block
        self._phases: list[tuple[int, str]] = []  # number of events before a phase, name of the phase

    def phase(self, name: str) -> None:
        """Begin a phase, to which the following events belong."""
        self._phases.append((len(self._events), name))

    def take(self, part: str, size: int) -> int:
        """Allocate a block, counted under `part`; returns its number for `give`."""
        assert size >= 0, f"{part}: {size} bytes"
        self._events.append((len(self._events), part, size))
        return len(self._events) - 1

    def give(self, *blocks: int) -> None:
        """Free blocks."""
        for block in blocks:
            _, part, size = self._events[block]
            self._events.append((block, part, -size))

    def most_live(self) -> tuple[Counter[str], str]:
        """Return the bytes of each part when most bytes are allocated, and the phase of that moment."""
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
        """Return the final size of a heap that places blocks in free ones of about their size, without splitting or
        joining.

        This models the behaviour of glibc's heap in training, and not its algorithm. glibc splits and joins free
        blocks, but torch requests aligned blocks, which do not fit into the space of a freed block of equal size, and
        small allocations that stay (oneDNN's kernels, Python objects) lie between the large ones."""
        free: list[int] = []
        where: dict[int, int] = {}
        top = 0
        for number, (block, _, size) in enumerate(self._events):
            if block != number:
                insort(free, where.pop(block))
                continue
            index = bisect_left(free, size)
            if index < len(free) and free[index] <= WASTE * size:
                where[block] = free.pop(index)
            else:
                where[block] = size
                top += size
        return top
