"""One or two segments of a document without a label, as ELECTRA has them.

Sentences are gathered until they hold the target; the first half becomes A, the rest B. One sample in ten has no B, as
input has in classification. Where the released code lets a short sentence join A although a longer one before it went
to B, here B goes on once it has begun: a segment is consecutive text.
Source: build_pretraining_dataset.py of google-research/electra.
"""

from random import Random

from preprocessing.schema import PAIR_SPECIAL_TOKENS, SINGLE_SPECIAL_TOKENS
from preprocessing.segments.layout import (
    Layout,
    Range,
    Sample,
    Samples,
    as_array,
    draw,
)

SINGLE_PROB = 0.1
"""Share of the samples that are one segment whatever their length."""
SHORTEST = 5
"""Smallest target of a short sample, special tokens included."""


def segment_pairs(layout: Layout, max_seq_length: int, short_seq_prob: float, random: Random) -> Samples:
    """The samples of one pass over a partition.

    The source compares the target, which counts special tokens, with the text alone: a chunk is a little longer than
    the sample, and cut.

    Args:
        layout: the partition.
        max_seq_length: tokens of a sample with its two or three special tokens, at least SHORTEST.
        short_seq_prob: share of the samples that get a random shorter target.
        random: source of random numbers.
    """
    samples: list[Sample] = []
    target = max_seq_length
    for document in layout.present():
        start, end = layout.documents[document], layout.documents[document + 1]
        while start < end:
            stop = layout.fill(start, end, target)
            middle = _middle(layout, (start, stop), target, random)
            a, b = layout.tokens((start, middle)), layout.tokens((middle, stop))
            samples.append(Sample(*_cut(a, b, max_seq_length), 0, document))
            is_short = random.random() < short_seq_prob
            target = SHORTEST + draw(random, max_seq_length - SHORTEST + 1) if is_short else max_seq_length
            start = stop
    return as_array(samples)


def _middle(layout: Layout, sentences: Range, target: int, random: Random) -> int:
    """Where B starts: the sentence that takes A to half of the target or beyond belongs to either by chance."""
    start, stop = sentences
    if random.random() < SINGLE_PROB:
        return stop
    half = (target - PAIR_SPECIAL_TOKENS) // 2
    middle = layout.fill(start, stop, half)
    a_start, a_stop = layout.tokens((start, middle))
    if middle - start == 1 or a_stop - a_start < half or random.random() < 0.5:
        return middle
    return middle - 1


def _cut(a: Range, b: Range, max_seq_length: int) -> tuple[int, int, int, int]:
    """A and B without the ends that do not fit: B's first."""
    a_stop = min(a[1], a[0] + max_seq_length - SINGLE_SPECIAL_TOKENS)
    room = max(0, max_seq_length - PAIR_SPECIAL_TOKENS - (a_stop - a[0]))
    return a[0], a_stop, b[0], b[0] + min(room, b[1] - b[0])
