"""Pairs for sentence-order prediction: two consecutive runs of sentences of one document, half of them swapped.

Two things differ from the released code. There a chunk of one sentence is paired with another document and labelled as
swapped: topic tells these pairs apart, which is what the paper (section 3.1) wants order prediction to be free of, so
here every chunk has two sentences at least and only documents of a single sentence, which have no order, give no pair.
And the last sentence of a document is never left alone: the chunk before hands it one of its own.
Source: create_pretraining_data.py of google-research/albert; https://arxiv.org/abs/1909.11942.
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
        short_seq_prob: share of the documents that get a random shorter target.
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
    """Runs of two sentences or more that tile the document, each with `target` tokens if the document goes on."""
    start, end = layout.documents[document], layout.documents[document + 1]
    while end - start >= 2:
        stop = max(layout.fill(start, end, target), start + 2)
        if end - stop == 1:
            stop = stop - 1 if stop - start > 2 else end
        yield start, stop
        start = stop
