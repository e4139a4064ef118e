"""Sentences to sentence pairs: the sampling of google-research/bert, as pure functions of sentence lengths.

All tokens of a partition lie in one flat array and consecutive sentences are one range of it, so a sample is four
positions: no token is looked at here. Random numbers come from Python's Mersenne Twister, drawn only by `random()` and
`getrandbits()`, whose streams Python promises to keep (https://docs.python.org/3/library/random.html#notes-on-reproducibility).
Source: create_pretraining_data.py of google-research/bert, in the order of its draws except inside truncation.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from preprocessing.errors import DataError
from preprocessing.schema import ACTUAL_NEXT, RANDOM_NEXT

NUM_SPECIAL_TOKENS = 3
"""[CLS] A [SEP] B [SEP]."""


class Pair(NamedTuple):
    """One sample: A is tokens [a_start, a_stop) of the partition, B is [b_start, b_stop)."""

    a_start: int
    a_stop: int
    b_start: int
    b_stop: int
    label: int
    document: int


def random_numbers(*key: int | str) -> Random:
    """A generator that depends on `key` alone: not on the process, the order of work, or PYTHONHASHSEED."""
    return Random(int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=16).digest()))


def sentence_pairs(
    sentences: Sequence[int],
    documents: Sequence[int],
    max_seq_length: int,
    short_seq_prob: float,
    random: Random,
) -> list[Pair]:
    """The pairs for next sentence prediction of one pass over a partition.

    Sentences are gathered until they fill the target length, cut at a random sentence into A and the rest. B is the rest
    (label 0), or, half of the time and where there is no rest, sentences from a random place in another document
    (label 1); then the rest goes back, to begin the next pair.

    Args:
        sentences: (S + 1,) where each sentence starts in the tokens; the last is T. No sentence is empty.
        documents: (D + 1,) where each document starts in the sentences; the last is S. A document may be empty.
        max_seq_length: tokens of a pair with its special tokens.
        short_seq_prob: share of documents with a random shorter target, so that training sees short input too.
        random: source of random numbers.

    Raises:
        DataError: fewer than two documents have sentences, so there is no other document to draw from.
    """
    present = [d for d in range(len(documents) - 1) if documents[d] < documents[d + 1]]
    if len(present) < 2:
        raise DataError(
            f"{len(present)} of {len(documents) - 1} documents here hold any token, next sentence prediction needs 2: "
            "B of a random pair comes from another document; give more documents"
        )
    limit = max_seq_length - NUM_SPECIAL_TOKENS
    pairs: list[Pair] = []
    for rank, document in enumerate(present):
        target = limit if random.random() >= short_seq_prob else 2 + _draw(random, limit - 1)
        start, end = documents[document], documents[document + 1]
        while start < end:
            stop = _fill(sentences, start, end, target)
            middle = start + 1 + (_draw(random, stop - start - 1) if stop - start >= 2 else 0)
            is_random = stop - start == 1 or random.random() < 0.5
            b_range = (middle, stop)
            if is_random:
                other = present[(rank + 1 + _draw(random, len(present) - 1)) % len(present)]
                b_range = _random_range(sentences, documents, other, target - sentences[middle] + sentences[start], random)
            a_tokens = (sentences[start], sentences[middle])
            b_tokens = (sentences[b_range[0]], sentences[b_range[1]])
            label = RANDOM_NEXT if is_random else ACTUAL_NEXT
            pairs.append(Pair(*truncate(a_tokens, b_tokens, limit, random), label, document))
            start = middle if is_random else stop
    return pairs


def truncate(
    a: tuple[int, int], b: tuple[int, int], limit: int, random: Random
) -> tuple[int, int, int, int]:
    """Shortens ranges A and B to `limit` tokens together, always the longer one, each time at a random end.

    The lengths that this leaves need no loop, and of n tokens the number taken from the front is the number of ones
    among n random bits.
    """
    lengths = truncated_lengths(a[1] - a[0], b[1] - b[0], limit)
    starts = [
        start + random.getrandbits(stop - start - length).bit_count()
        for (start, stop), length in zip((a, b), lengths, strict=True)
    ]
    return starts[0], starts[0] + lengths[0], starts[1], starts[1] + lengths[1]


def truncated_lengths(a: int, b: int, limit: int) -> tuple[int, int]:
    """Lengths left of `a` and `b` when one token at a time leaves the longer (B if equal) until `limit` remain."""
    if a + b <= limit:
        return a, b
    if min(a, b) <= limit - min(a, b):
        return (limit - b, b) if a > b else (a, limit - a)
    return (limit + 1) // 2, limit // 2


def _fill(sentences: Sequence[int], start: int, end: int, target: int) -> int:
    """The end of the shortest run of sentences from `start` with at least `target` tokens and one sentence, or `end`."""
    return bisect_left(sentences, sentences[start] + target, start + 1, end)


def _random_range(
    sentences: Sequence[int], documents: Sequence[int], document: int, target: int, random: Random
) -> tuple[int, int]:
    """Sentences of `document` from a random one on, until they hold `target` tokens or the document ends."""
    first, end = documents[document], documents[document + 1]
    start = first + _draw(random, end - first)
    return start, _fill(sentences, start, end, target)


def _draw(random: Random, count: int) -> int:
    """A number of 0 .. count - 1, each as likely as the others (to 2**-53 * count)."""
    return int(random.random() * count)
