"""Laws of preprocessing/segments/nsp.py, and the sampling of google-research/bert on hand-made cases."""

import hashlib
from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from layouts import DOCUMENTS, document_at, layout_of, rows

from preprocessing.errors import DataError
from preprocessing.schema import RANDOM_NEXT
from preprocessing.segments.layout import random_numbers
from preprocessing.segments.nsp import next_sentence_pairs

PARTITIONS = DOCUMENTS.filter(lambda documents: sum(map(bool, documents)) >= 2)


def sentence_pairs(*arguments):
    """Return the pairs as named tuples."""
    return rows(next_sentence_pairs(*arguments))


@given(PARTITIONS, st.integers(5, 60), st.floats(0, 1), st.integers(0, 9))
def test_every_pair_is_within_bounds(documents, max_seq_length, short_seq_prob, seed):
    """A and B have a token each, fit together, and lie in one document each: the same for an actual next, and another
    for a random one.
    """
    layout = layout_of(documents)
    pairs = sentence_pairs(layout, max_seq_length, short_seq_prob, random_numbers(seed))
    for a_start, a_stop, b_start, b_stop, label, document in pairs:
        assert a_start < a_stop and b_start < b_stop
        assert a_stop - a_start + b_stop - b_start <= max_seq_length - 3
        assert document_at(layout, a_start) == document_at(layout, a_stop - 1) == document
        assert document_at(layout, b_start) == document_at(layout, b_stop - 1)
        assert (document_at(layout, b_start) != document) == label
        assert label or a_stop <= b_start
    assert sorted({pair.document for pair in pairs}) == layout.present()


@given(st.lists(st.integers(0, 3), min_size=2, max_size=9).filter(lambda numbers: len(set(numbers)) > 1))
def test_a_random_one_is_never_from_the_same_document_again(numbers):
    """B of a random pair never comes from A's document, even if that occurs several times."""
    layout = replace(layout_of([[1] * 20 for _ in numbers]), numbers=numbers)
    pairs = sentence_pairs(layout, 8, 0, random_numbers(0))
    labels = {numbers[document_at(layout, pair.b_start)] != numbers[pair.document] for pair in pairs if pair.label}
    assert labels == {True}


@given(st.lists(st.integers(0, 30), min_size=2, max_size=6), st.integers(5, 20), st.floats(0, 1), st.integers(0, 9))
def test_every_sentence_is_used_once(sizes, max_seq_length, short_seq_prob, seed):
    """With one-token sentences nothing is cut, and A and actual B cover each document: sentences that a random B
    replaced are used again.
    """
    documents = [[1], [1], *([1] * size for size in sizes)]
    layout = layout_of(documents)
    used = [[] for _ in documents]
    for a_start, a_stop, b_start, b_stop, label, document in sentence_pairs(
        layout, max_seq_length, short_seq_prob, random_numbers(seed)
    ):
        used[document] += range(a_start, a_stop)
        if not label:
            assert a_stop == b_start
            used[document] += range(b_start, b_stop)
    assert [token for tokens in used for token in tokens] == list(range(layout.sentences[-1]))


@given(PARTITIONS, st.integers(5, 60), st.floats(0, 1), st.integers(0, 9))
def test_no_token_is_at_its_own_place_twice(documents, max_seq_length, short_seq_prob, seed):
    """A and actual B follow each other through the partition without overlap, and omit only what is cut at
    max_seq_length: nothing if the partition fits.
    """
    layout = layout_of(documents)
    own = []
    for a_start, a_stop, b_start, b_stop, label, _ in sentence_pairs(
        layout, max_seq_length, short_seq_prob, random_numbers(seed)
    ):
        own += [(a_start, a_stop)] if label else [(a_start, a_stop), (b_start, b_stop)]
    assert all(stop <= start for (_, stop), (start, _) in pairwise(own))
    if layout.sentences[-1] <= max_seq_length - 3:
        assert sum(stop - start for start, stop in own) == layout.sentences[-1]


def test_a_single_sentence_is_followed_by_a_random_one():
    """In documents of one sentence, B is always random."""
    pairs = sentence_pairs(layout_of([[4], [6]]), 128, 0, random_numbers(0))
    assert pairs == [(0, 4, 4, 10, 1, 0), (4, 10, 0, 4, 1, 1)]


def test_two_sentences_are_a_pair_or_two_random_ones():
    """A document of two sentences gives one actual pair, or two random ones."""
    layout, seen = layout_of([[4, 5], [7]]), set()
    for seed in range(20):
        pairs = sentence_pairs(layout, 128, 0, random_numbers(seed))
        seen.add(tuple(tuple(pair) for pair in pairs if pair.document == 0))
    assert seen == {((0, 4, 4, 9, 0, 0),), ((0, 4, 9, 16, 1, 0), (4, 9, 9, 16, 1, 0))}


def test_a_chunk_ends_with_the_sentence_that_reaches_the_target():
    """With sentences of 10 tokens and room for 25, three sentences make a chunk that is cut to 25."""
    pairs = sentence_pairs(layout_of([[10] * 50, [10] * 50]), 28, 0, random_numbers(3))
    actual = [pair for pair in pairs if not pair.label]
    assert {pair.a_stop - pair.a_start + pair.b_stop - pair.b_start for pair in actual[:10]} == {25}
    assert {pair.b_stop - pair.a_start for pair in actual[:10]} <= set(range(25, 31))


def test_about_half_of_the_pairs_are_random():
    """In long documents of many sentences, half of the pairs are random."""
    pairs = sentence_pairs(layout_of([[5] * 4000, [5] * 4000]), 128, 0.1, random_numbers(0))
    assert abs(sum(pair.label for pair in pairs) / len(pairs) - 0.5) < 0.06


def test_random_documents_are_uniform():
    """B of a random pair comes equally often from each other document, and from each of its sentences."""
    layout = layout_of([[1]] + [[1] * 5] * 4)
    random = random_numbers(1)
    starts = [sentence_pairs(layout, 5, 0, random)[0].b_start for _ in range(4000)]
    counts = [starts.count(start) for start in sorted(set(starts))]
    # 20 cells of 200 expected; the chi-square statistic with 19 degrees of freedom exceeds 43.8 once in 1000.
    assert len(counts) == 20
    assert sum((count - 200) ** 2 / 200 for count in counts) < 43.8


def test_a_pass_over_a_partition_draws_all_documents_alike():
    """B comes equally often from each of 60 documents, and from the n-th after A's, whatever their lengths."""
    lengths = Random(2)
    layout = layout_of([[5] * (20 + int(lengths.random() * 400)) for _ in range(60)])
    pairs = [pair for pair in sentence_pairs(layout, 64, 0.1, random_numbers(3)) if pair.label == RANDOM_NEXT]
    documents = [document_at(layout, pair.b_start) for pair in pairs]
    distances = [(document - pair.document) % 60 for document, pair in zip(documents, pairs, strict=True)]
    others = [sum(pair.document != document for pair in pairs) / 59 for document in range(60)]
    assert min(others) > 10 and 0 not in distances
    by_document = sum((documents.count(number) - mean) ** 2 / mean for number, mean in enumerate(others))
    mean = len(pairs) / 59
    by_distance = sum((distances.count(number) - mean) ** 2 / mean for number in range(1, 60))
    # The chi-square statistic with 58 degrees of freedom exceeds 97 once in 1000.
    assert by_document < 97 and by_distance < 97


def test_short_sequences_have_their_share():
    """With probability 1 the target is uniform over 2 .. limit, and with 0 it is always the limit."""
    layout = layout_of([[1] * 50, [1] * 50])
    for probability, expected in ((0, {5}), (1, {2, 3, 4, 5})):
        first = [sentence_pairs(layout, 8, probability, random_numbers(seed))[0] for seed in range(300)]
        actual = [pair for pair in first if not pair.label]
        assert {pair.b_stop - pair.a_start for pair in actual} == expected


def test_the_choices_never_change_silently():
    """These samples are a function of the seed in every version, so that a published dataset can be made again."""
    pairs = sentence_pairs(layout_of([[5, 9, 4, 7], [8, 3, 6], [2, 11]]), 20, 0.5, random_numbers(12345, 0, "train", 0))
    assert [tuple(pair) for pair in pairs] == [
        (0, 5, 5, 14, 0, 0),
        (14, 18, 33, 42, 1, 0),
        (18, 25, 44, 54, 1, 0),
        (25, 36, 36, 42, 0, 1),
        (42, 44, 44, 55, 0, 2),
    ]


def test_a_thousand_pairs_never_change_silently():
    """The pairs of a partition of 200 documents have the checksum of the first version of this sampling."""
    random = Random(0)
    documents = [[1 + int(random.random() * 60) for _ in range(int(random.random() * 40))] for _ in range(200)]
    pairs = next_sentence_pairs(layout_of(documents), 128, 0.1, random_numbers(12345, 0, "train", 0))
    digest = hashlib.sha256(pairs.astype("<i8").tobytes()).hexdigest()
    assert digest == "bd3c493d6dee91b840c7d92614f8e1b92847a69d8e9413359954786a7271f35a" and len(pairs) == 1391


@pytest.mark.parametrize("documents", [[[3, 4]], [[3], []]])
def test_one_document_alone_is_an_error(documents):
    """A single document is an error that says that there is no other to draw from."""
    with pytest.raises(DataError, match=r"1 of the \d documents .* needs 2"):
        sentence_pairs(layout_of(documents), 128, 0.1, random_numbers(0))
