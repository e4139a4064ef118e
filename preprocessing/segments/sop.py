"""Pairs for sentence-order prediction: two consecutive runs of sentences of one document, half of them swapped.

Two things differ from the released code. It pairs a chunk of one sentence with another document and labels the pair as
swapped, so that the topic reveals the label, which the paper (section 3.1) wants to avoid. Here every chunk has at
least two sentences, and only documents of a single sentence give no pair. A last single sentence of a document gets a
second one from the chunk before. Source: create_pretraining_data.py of google-research/albert;
https://arxiv.org/abs/1909.11942.
"""

from collections.abc import Iterator
from random import Random

from preprocessing.schema import IN_ORDER, PAIR_SPECIAL_TOKENS, SWAPPED
from preprocessing.segments.layout import Layout, Range, Sample, Samples, as_array, draw
from preprocessing.segments.pairs import target_length, truncate


def sentence_order_pairs(layout: Layout, max_seq_length: int, short_seq_prob: float, random: Random) -> Samples:
    """The pairs for sentence-order prediction of one pass over a partition.

    Args:
        layout: the partition.
        max_seq_length: tokens of a pair with its three special tokens.
        short_seq_prob: share of the documents with a random shorter target length.
        random: source of random numbers.
    """
    limit = max_seq_length - PAIR_SPECIAL_TOKENS
    pairs: list[Sample] = []
    for document in layout.present():
        target = target_length(limit, short_seq_prob, random)
        for start, stop in _chunks(layout, document, target):
            middle = start + 1 + draw(random, stop - start - 1)
            first, second = layout.tokens((start, middle)), layout.tokens((middle, stop))
            label = SWAPPED if random.random() < 0.5 else IN_ORDER
            a, b = (second, first) if label == SWAPPED else (first, second)
            pairs.append(Sample(*truncate(a, b, limit, random), label, document))
    return as_array(pairs)


def _chunks(layout: Layout, document: int, target: int) -> Iterator[Range]:
    """Consecutive runs of two sentences or more, each with at least `target` tokens unless the document ends."""
    start, end = layout.documents[document], layout.documents[document + 1]
    while end - start >= 2:
        stop = max(layout.fill(start, end, target), start + 2)
        if end - stop == 1:
            stop = stop - 1 if stop - start > 2 else end
        yield start, stop
        start = stop
