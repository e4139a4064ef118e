"""Sentences to sentence pairs: the sampling of google-research/bert, as pure functions of sentence lengths.

All tokens of a partition lie in one flat array and consecutive sentences are one range of it, so a sample is four
positions: no token is looked at here. Random numbers come from Python's Mersenne Twister by `random()` and
`getrandbits()` alone, whose streams do not depend on the platform or on PYTHONHASHSEED.
Source: create_pretraining_data.py of google-research/bert.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from preprocessing.errors import DataError
from preprocessing.schema import ACTUAL_NEXT, RANDOM_NEXT

NUM_SPECIAL_TOKENS = 3
"""[CLS] A [SEP] B [SEP]."""

Range = tuple[int, int]
"""Start and stop of consecutive tokens, or of consecutive sentences."""


class Pair(NamedTuple):
    """One sample: A is tokens [a_start, a_stop) of the partition, B is [b_start, b_stop)."""

    a_start: int
    a_stop: int
    b_start: int
    b_stop: int
    label: int
    document: int


@dataclass(frozen=True)
class Layout:
    """Where the sentences and documents of a partition lie. No sentence is empty; documents may be."""

    sentences: Sequence[int]
    """(S + 1,) where each sentence starts in the tokens; the last is the number of tokens."""
    documents: Sequence[int]
    """(D + 1,) where each document starts in the sentences; the last is S."""

    def tokens(self, sentences: Range) -> Range:
        """The tokens of a range of sentences."""
        return self.sentences[sentences[0]], self.sentences[sentences[1]]

    def fill(self, start: int, end: int, target: int) -> int:
        """The end of the shortest run of sentences from `start` with at least `target` tokens, but at most `end`."""
        return bisect_left(self.sentences, self.sentences[start] + target, start + 1, end)

    def present(self) -> list[int]:
        """The documents that have sentences."""
        return [d for d in range(len(self.documents) - 1) if self.documents[d] < self.documents[d + 1]]


def random_numbers(*key: int | str) -> Random:
    """A generator that depends on `key` alone: not on the process or the order of work."""
    return Random(int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=16).digest()))


def sentence_pairs(layout: Layout, max_seq_length: int, short_seq_prob: float, random: Random) -> list[Pair]:
    """The pairs for next sentence prediction of one pass over a partition.

    Args:
        layout: the partition.
        max_seq_length: tokens of a pair with its three special tokens.
        short_seq_prob: share of the documents that get a random shorter target, so that training sees short input too.
        random: source of random numbers.

    Raises:
        DataError: fewer than two documents have sentences, so that there is no other document to draw from.
    """
    present = layout.present()
    if len(present) < 2:
        raise DataError(
            f"{len(present)} of the {len(layout.documents) - 1} documents of a partition hold any token, and next "
            "sentence prediction needs 2: B of a random pair comes from another document; give more documents"
        )
    limit = max_seq_length - NUM_SPECIAL_TOKENS
    pairs: list[Pair] = []
    for rank, document in enumerate(present):
        target = limit if random.random() >= short_seq_prob else 2 + _draw(random, limit - 1)
        for a, b, label in _document_pairs(layout, present, rank, target, random):
            pairs.append(Pair(*truncate(layout.tokens(a), layout.tokens(b), limit, random), label, document))
    return pairs


def _document_pairs(
    layout: Layout, present: list[int], rank: int, target: int, random: Random
) -> Iterator[tuple[Range, Range, int]]:
    """Sentences of A, of B, and the label, for each pair that starts in document `present[rank]`.

    Sentences are gathered until they hold `target` tokens, then cut at random into A and the rest. B is the rest, or,
    half of the time and where there is no rest, sentences from another document; then the rest begins the next pair.
    """
    start, end = layout.documents[present[rank]], layout.documents[present[rank] + 1]
    while start < end:
        stop = layout.fill(start, end, target)
        if stop - start == 1:
            middle, is_random = stop, True
        else:
            middle = start + 1 + _draw(random, stop - start - 1)
            is_random = random.random() < 0.5
        if is_random:
            a_start, a_stop = layout.tokens((start, middle))
            other = present[(rank + 1 + _draw(random, len(present) - 1)) % len(present)]
            yield (start, middle), _random_range(layout, other, target - (a_stop - a_start), random), RANDOM_NEXT
            start = middle
        else:
            yield (start, middle), (middle, stop), ACTUAL_NEXT
            start = stop


def _random_range(layout: Layout, document: int, target: int, random: Random) -> Range:
    """Sentences of `document` from a random one on, until they hold `target` tokens or the document ends."""
    first, end = layout.documents[document], layout.documents[document + 1]
    start = first + _draw(random, end - first)
    return start, layout.fill(start, end, target)


def truncate(a: Range, b: Range, limit: int, random: Random) -> tuple[int, int, int, int]:
    """Shortens A and B to `limit` tokens together: always the longer one, each time at its front or back by chance.

    The lengths that this leaves need no loop, and the number of tokens that n such chances take from the front is the
    number of ones among n random bits.
    """
    lengths = truncated_lengths(a[1] - a[0], b[1] - b[0], limit)
    a_start, b_start = (
        start + random.getrandbits(stop - start - length).bit_count()
        for (start, stop), length in zip((a, b), lengths, strict=True)
    )
    return a_start, a_start + lengths[0], b_start, b_start + lengths[1]


def truncated_lengths(a: int, b: int, limit: int) -> tuple[int, int]:
    """What is left of `a` and `b` when one token at a time leaves the longer (B if equal) until `limit` remain."""
    shorter = min(a, b)
    if a + b <= limit:
        return a, b
    if shorter <= limit - shorter:
        return (limit - b, b) if a > b else (a, limit - a)
    return (limit + 1) // 2, limit // 2


def _draw(random: Random, count: int) -> int:
    """One of 0 .. count - 1, all equally likely."""
    return int(random.random() * count)
