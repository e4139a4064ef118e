"""Samples of one or two segments of a document without a label, as for ELECTRA.

Sentences are gathered until they reach the target length; the first half becomes A, the rest B. One sample in ten has
no B, like the input of classification tasks. The released code may put a short sentence in A after a longer one went to
B; here every sentence after the start of B belongs to B, so that segments are consecutive text.
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
"""Share of the samples that are a single segment, whatever their length."""
SHORTEST = 5
"""Smallest target length of a short sample, special tokens included."""


def segment_pairs(layout: Layout, max_seq_length: int, short_seq_prob: float, random: Random) -> Samples:
    """The samples of one pass over a partition.

    The released code compares the target, which includes special tokens, with the length of the text alone: a chunk is
    slightly longer than the sample, and is truncated.

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
    """The first sentence of B. The sentence with which A reaches half of the target belongs to A or B at random."""
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
    """A and B truncated at their ends to the longest sample, B first."""
    a_stop = min(a[1], a[0] + max_seq_length - SINGLE_SPECIAL_TOKENS)
    room = max(0, max_seq_length - PAIR_SPECIAL_TOKENS - (a_stop - a[0]))
    return a[0], a_stop, b[0], b[0] + min(room, b[1] - b[0])
