"""Input and output of the strategies: the layout of a partition, and samples as positions in its tokens.

All tokens of a partition are in one flat array, and consecutive sentences are one range of it, so a sample is four
positions; strategies do not read tokens. Random numbers come from Python's Mersenne Twister by `random()` and
`getrandbits()` alone, whose streams do not depend on the platform or on PYTHONHASHSEED.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Range = tuple[int, int]
"""Start and stop of consecutive tokens, or of consecutive sentences."""
Samples = npt.NDArray[np.int64]
"""(N, 6) samples, columns as in `Sample`."""


class Sample(NamedTuple):
    """One sample: A is tokens [a_start, a_stop) of the partition, B is [b_start, b_stop), empty if there is no B."""

    a_start: int
    a_stop: int
    b_start: int
    b_stop: int
    label: int
    document: int
    """Number, in the partition, of the document that the first token of the sample comes from."""


@dataclass(frozen=True)
class Layout:
    """Offsets of the sentences and documents of a partition. No sentence is empty; a document may be, or may recur."""

    sentences: Sequence[int]
    """(S + 1,) where each sentence starts in the tokens; the last is the number of tokens."""
    documents: Sequence[int]
    """(D + 1,) where each document starts in the sentences; the last is S."""
    numbers: Sequence[int]
    """(D,) number of each document in the partition; a document that occurs twice has the same number twice."""

    def tokens(self, sentences: Range) -> Range:
        """The tokens of a range of sentences."""
        return self.sentences[sentences[0]], self.sentences[sentences[1]]

    def fill(self, start: int, end: int, target: int) -> int:
        """The end of the shortest run of sentences from `start` with at least `target` tokens, but at most `end`."""
        return bisect_left(self.sentences, self.sentences[start] + target, start + 1, end)

    def present(self) -> list[int]:
        """Indices of the documents that have sentences."""
        return [d for d in range(len(self.documents) - 1) if self.documents[d] < self.documents[d + 1]]


def as_array(samples: list[Sample]) -> Samples:
    """The samples as an array (N, 6), also for N = 0."""
    return np.array(samples, np.int64).reshape(-1, len(Sample._fields))


def random_numbers(*key: int | str) -> Random:
    """A generator that depends on `key` alone: not on the process or the order of work."""
    return Random(int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=16).digest()))


def draw(random: Random, count: int) -> int:
    """A uniformly distributed integer of 0 .. count - 1."""
    return int(random.random() * count)
