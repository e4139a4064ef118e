"""Pairs for next sentence prediction, as google-research/bert samples them.

Source: create_pretraining_data.py of google-research/bert.

B of a random pair is drawn from the partition, not from the corpus. A partition is a random sample of the documents, by
a hash of their texts, so that any two documents are equally likely to be paired. Only the composition of partitions
varies: a kind of text with share p of the corpus has the share p +- sqrt(p (1 - p) / D) of a partition of D documents.
64 MB of Wikipedia are some 20,000 articles, and a share of 1 % varies by 0.07 percentage points; 64 MB of books are
some 160, and it varies by 0.8 points. A few hundred documents are enough; raise partition_mb if there are fewer.
"""

from collections.abc import Iterator
from random import Random

from preprocessing.errors import DataError
from preprocessing.schema import ACTUAL_NEXT, PAIR_SPECIAL_TOKENS, RANDOM_NEXT
from preprocessing.segments.layout import Layout, Range, Sample, Samples, as_array, draw
from preprocessing.segments.pairs import target_length, truncate


def next_sentence_pairs(layout: Layout, max_seq_length: int, short_seq_prob: float, random: Random) -> Samples:
    """The pairs for next sentence prediction of one pass over a partition.

    Args:
        layout: the partition.
        max_seq_length: tokens of a pair with its three special tokens.
        short_seq_prob: share of the documents with a random shorter target length, so that training includes short
            input. random: source of random numbers.

    Raises:
        DataError: fewer than two documents have sentences, so there is no other document to draw from.
    """
    present = layout.present()
    if (different := len({layout.numbers[document] for document in present})) < 2:
        raise DataError(
            f"{different} of the {len(layout.documents) - 1} documents of a partition hold any token, and next "
            "sentence prediction needs 2: B of a random pair comes from another document; give more documents, or "
            "greater --weights"
        )
    limit = max_seq_length - PAIR_SPECIAL_TOKENS
    pairs: list[Sample] = []
    for rank, document in enumerate(present):
        target = target_length(limit, short_seq_prob, random)
        for a, b, label in _document_pairs(layout, present, rank, target, random):
            pairs.append(Sample(*truncate(layout.tokens(a), layout.tokens(b), limit, random), label, document))
    return as_array(pairs)


def _document_pairs(
    layout: Layout, present: list[int], rank: int, target: int, random: Random
) -> Iterator[tuple[Range, Range, int]]:
    """Sentences of A and of B, and the label, for each pair that starts in document `present[rank]`.

    Sentences are gathered until they have `target` tokens, then cut at random into A and the rest. B is the rest or,
    half of the time and if there is no rest, sentences of another document; then the rest begins the next pair.
    """
    start, end = layout.documents[present[rank]], layout.documents[present[rank] + 1]
    while start < end:
        stop = layout.fill(start, end, target)
        if stop - start == 1:
            middle, is_random = stop, True
        else:
            middle = start + 1 + draw(random, stop - start - 1)
            is_random = random.random() < 0.5
        if is_random:
            a_start, a_stop = layout.tokens((start, middle))
            other = _other(layout, present, rank, random)
            yield (start, middle), _random_range(layout, other, target - (a_stop - a_start), random), RANDOM_NEXT
            start = middle
        else:
            yield (start, middle), (middle, stop), ACTUAL_NEXT
            start = stop


def _other(layout: Layout, present: list[int], rank: int, random: Random) -> int:
    """A random document other than `present[rank]` and its other occurrences."""
    while True:
        other = present[(rank + 1 + draw(random, len(present) - 1)) % len(present)]
        if layout.numbers[other] != layout.numbers[present[rank]]:
            return other


def _random_range(layout: Layout, document: int, target: int, random: Random) -> Range:
    """Sentences of `document` from a random one on, until they have `target` tokens or the document ends."""
    first, end = layout.documents[document], layout.documents[document + 1]
    start = first + draw(random, end - first)
    return start, layout.fill(start, end, target)
