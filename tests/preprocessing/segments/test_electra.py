"""Laws of preprocessing/segments/electra.py, with ELECTRA's own loop as reference."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from layouts import DOCUMENTS, document_at, layout_of, rows

from preprocessing.segments.electra import segment_pairs
from preprocessing.segments.layout import random_numbers


@given(DOCUMENTS, st.integers(5, 60), st.floats(0, 1), st.integers(0, 9))
def test_every_sample_is_one_or_two_consecutive_segments(documents, max_seq_length, short_seq_prob, seed):
    """Samples fit with their two or three special tokens, lie in one document, and do not overlap."""
    layout, last = layout_of(documents), 0
    for a_start, a_stop, b_start, b_stop, label, document in rows(
        segment_pairs(layout, max_seq_length, short_seq_prob, random_numbers(seed))
    ):
        assert last <= a_start < a_stop <= b_start <= b_stop and label == 0
        special = 3 if b_stop > b_start else 2
        assert a_stop - a_start + b_stop - b_start + special <= max_seq_length
        assert b_start in (a_stop, b_stop)
        assert document_at(layout, a_start) == document_at(layout, max(a_stop, b_stop) - 1) == document
        last = max(a_stop, b_stop)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=6).filter(any), st.integers(0, 9))
def test_short_documents_arrive_whole(sizes, seed):
    """A document that fits is one sample."""
    layout = layout_of([[1] * size for size in sizes])
    samples = rows(segment_pairs(layout, 64, 0, random_numbers(seed)))
    assert [(s.a_start, s.a_stop + s.b_stop - s.b_start) for s in samples] == [
        layout.tokens((layout.documents[d], layout.documents[d + 1])) for d in layout.present()
    ]


def loop(lengths, target, flips):
    """Return the sentences of the two segments by the rules of the released code: `lengths` in tokens, `flips` its
    coins.
    """
    half, first, second = (target - 3) // 2, [], []
    for number, length in enumerate(lengths):
        held = sum(lengths[i] for i in first)
        fits = not second and (held + length < half or (held < half and next(flips)))
        (first if not first or fits else second).append(number)
    return len(first)


def test_segments_are_divided_as_by_the_released_code():
    """Over many random draws, the share of each length of A equals that of the released code's loop, single segments
    apart.
    """
    lengths, count = [6, 9, 4, 8, 7, 30], 6000
    starts = layout_of([lengths]).sentences
    coin, random = random_numbers("coin"), random_numbers("sampler")
    expected = Counter(loop(lengths, 67, iter(lambda: coin.random() < 0.5, None)) for _ in range(count))
    samples = [rows(segment_pairs(layout_of([lengths]), 67, 0, random))[0] for _ in range(count)]
    found = Counter(starts.index(s.a_stop) for s in samples if s.b_stop > s.b_start)
    assert found.keys() == expected.keys() == {4, 5}
    assert all(abs(found[n] / found.total() - expected[n] / count) < 0.03 for n in expected)
    assert abs(1 - found.total() / count - 0.1) < 0.015


def test_short_samples_have_their_share_and_are_uniform():
    """A twentieth of the targets is drawn, uniformly over 5 .. max_seq_length, and a chunk of one-token sentences has
    the target's length.
    """
    for probability, longest, count in ((0.05, 1000, 4000), (1, 20, 3200)):
        layout = layout_of([[1] * longest * (count + 1)])
        starts = segment_pairs(layout, longest, probability, random_numbers(0))[:, 0]
        targets = np.diff(starts)[1 : count + 1]  # The first is never short.
        if probability < 1:
            assert abs(np.mean(targets < longest) - probability) < 0.012
        else:
            counts = np.bincount(targets)[5:]
            # 16 cells of 200 expected; the chi-square statistic with 15 degrees of freedom exceeds 37.7 once in 1000.
            assert len(counts) == 16 and ((counts - 200) ** 2 / 200).sum() < 37.7
