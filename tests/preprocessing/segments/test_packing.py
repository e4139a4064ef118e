"""Laws of preprocessing/segments/packing.py."""

from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layouts import DOCUMENTS, document_at, layout_of, rows

from preprocessing.segments.layout import random_numbers
from preprocessing.segments.packing import blocks, chunks, cut, doc_sentences, full_sentences

STRATEGIES = [full_sentences, doc_sentences, blocks, chunks]


def spans(strategy, documents, max_seq_length):
    """Return (start, stop) of each sample."""
    return [sample[:2] for sample in rows(strategy(layout_of(documents), max_seq_length, 0, random_numbers(0)))]


def packed(lengths, limit):
    """Return (start, stop) of each sample of a loop that adds the next piece while it fits."""
    sizes: list[int] = []
    for length in lengths:
        if sizes and sizes[-1] + length <= limit:
            sizes[-1] += length
        else:
            sizes.append(length)
    return list(zip([0, *accumulate(sizes)], accumulate(sizes), strict=False))


def pieces(lengths, limit):
    """Return the sentences, with those that are too long in pieces."""
    return [min(limit, length - start) for length in lengths for start in range(0, length, limit)]


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(documents=DOCUMENTS, max_seq_length=st.integers(5, 60))
def test_every_token_is_in_one_sample(strategy, documents, max_seq_length):
    """The samples cover the partition in order; each fits, is a single segment, and names the document in which it
    starts.
    """
    layout = layout_of(documents)
    samples = rows(strategy(layout, max_seq_length, 0, random_numbers(0)))
    assert [token for s in samples for token in range(s.a_start, s.a_stop)] == list(range(layout.sentences[-1]))
    for sample in samples:
        assert 0 < sample.a_stop - sample.a_start <= max_seq_length - 2
        assert sample.b_start == sample.b_stop and sample.label == 0
        assert sample.document == document_at(layout, sample.a_start)


@given(DOCUMENTS, st.integers(5, 60))
def test_full_sentences_equals_the_loop(documents, max_seq_length):
    """Sentences are added until the next does not fit, whatever document it belongs to."""
    lengths = [length for document in documents for length in document]
    limit = max_seq_length - 2
    assert spans(full_sentences, documents, max_seq_length) == packed(pieces(lengths, limit), limit)


@given(DOCUMENTS, st.integers(5, 60))
def test_doc_sentences_packs_each_document_by_itself(documents, max_seq_length):
    """The samples of a partition are those of its documents, one after the other."""
    expected, start, limit = [], 0, max_seq_length - 2
    for document in documents:
        expected += [(start + a, start + b) for a, b in packed(pieces(document, limit), limit)]
        start += sum(document)
    assert spans(doc_sentences, documents, max_seq_length) == expected


@given(DOCUMENTS, st.integers(5, 60))
def test_blocks_are_chunks_of_each_document(documents, max_seq_length):
    """Blocks are the chunks of each document, and all but a document's last are full."""
    expected, start = [], 0
    for document in filter(None, documents):
        expected += [(start + a, start + b) for a, b in spans(chunks, [document], max_seq_length)]
        start += sum(document)
    assert spans(blocks, documents, max_seq_length) == expected


@given(DOCUMENTS, st.integers(5, 60))
def test_chunks_are_full_but_for_the_last(documents, max_seq_length):
    """Chunks have max_seq_length - 2 tokens, 510 for 512, but for the last one."""
    *full, last = (stop - start for start, stop in spans(chunks, documents, max_seq_length))
    assert set(full) <= {max_seq_length - 2} and 0 < last <= max_seq_length - 2


def test_a_long_sentence_is_cut_and_its_rest_joined():
    """Of a sentence of 25 tokens with room for 10, the last 5 share a sample with the next sentence."""
    assert spans(full_sentences, [[3, 25], [4, 2]], 12) == [(0, 3), (3, 13), (13, 23), (23, 32), (32, 34)]
    assert spans(doc_sentences, [[3, 25], [4, 2]], 12) == [(0, 3), (3, 13), (13, 23), (23, 28), (28, 34)]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("documents", [[], [[]], [[], []]])
def test_a_partition_without_text_gives_no_sample(strategy, documents):
    """A partition without text gives an empty array of samples."""
    assert strategy(layout_of(documents), 12, 0, random_numbers(0)).shape == (0, 6)


def test_nothing_is_random():
    """Other random numbers give the same samples."""
    layout = layout_of([[3, 25, 8], [4, 2]])
    for strategy in STRATEGIES:
        np.testing.assert_array_equal(*(strategy(layout, 12, 0, random_numbers(seed)) for seed in (0, 1)))


def test_cutting_what_fits_changes_nothing():
    """Only a piece that is longer than the limit is cut."""
    assert cut(np.array([0, 4, 10, 11]), 6).tolist() == [0, 4, 10, 11]
    assert cut(np.array([0, 4, 10, 11]), 5).tolist() == [0, 4, 9, 10, 11]
