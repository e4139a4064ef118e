"""Laws of preprocessing/segments/sop.py."""

from hypothesis import given
from hypothesis import strategies as st
from layouts import DOCUMENTS, document_at, layout_of, rows

from preprocessing.segments.layout import random_numbers
from preprocessing.segments.sop import sentence_order_pairs


@given(DOCUMENTS, st.integers(5, 60), st.floats(0, 1), st.integers(0, 9))
def test_every_pair_is_two_runs_of_one_document(documents, max_seq_length, short_seq_prob, seed):
    """A and B have a token each, fit together and lie in one document, and B comes first if the label says so."""
    layout = layout_of(documents)
    pairs = rows(sentence_order_pairs(layout, max_seq_length, short_seq_prob, random_numbers(seed)))
    for a_start, a_stop, b_start, b_stop, label, document in pairs:
        assert a_start < a_stop and b_start < b_stop
        assert a_stop - a_start + b_stop - b_start <= max_seq_length - 3
        assert {document_at(layout, token) for token in (a_start, a_stop - 1, b_start, b_stop - 1)} == {document}
        assert (b_stop <= a_start) if label else (a_stop <= b_start)
    several = [number for number, document in enumerate(documents) if len(document) > 1]
    assert sorted({pair.document for pair in pairs}) == several


@given(st.lists(st.integers(0, 30), min_size=1, max_size=6), st.integers(5, 20), st.floats(0, 1), st.integers(0, 9))
def test_every_sentence_is_used_once(sizes, max_seq_length, short_seq_prob, seed):
    """With one-token sentences hardly anything is cut: the pairs, put in order, cover each document of two sentences or
    more, but for a chunk of three sentences that had to stay together.
    """
    layout = layout_of([[1] * size for size in sizes])
    pairs = rows(sentence_order_pairs(layout, max_seq_length, short_seq_prob, random_numbers(seed)))
    used = [[] for _ in sizes]
    for a_start, a_stop, b_start, b_stop, _, document in pairs:
        used[document] += sorted([*range(a_start, a_stop), *range(b_start, b_stop)])
    for document, tokens in enumerate(used):
        first, last = layout.tokens((layout.documents[document], layout.documents[document + 1]))
        assert tokens == sorted(set(tokens))
        missing = set(range(first, last)) - set(tokens)
        assert len(missing) <= (max_seq_length == 5) if last - first > 1 else not tokens


def test_the_last_sentence_is_not_left_alone():
    """The third chunk of four sentences that reach the target of ten tokens would be a single sentence, so the second
    gives it one; of three sentences of which two reach the target, all stay together.
    """
    (chunks,) = (
        {(min(p.a_start, p.b_start), max(p.a_stop, p.b_stop)) for p in rows(pairs)}
        for pairs in [sentence_order_pairs(layout_of([[3] * 9]), 13, 0, random_numbers(0))]
    )
    starts = sorted(start // 3 for start, _ in chunks)
    assert starts == [0, 4, 7]
    pairs = rows(sentence_order_pairs(layout_of([[6, 6, 6]]), 13, 0, random_numbers(0)))
    assert len(pairs) == 1


def test_half_of_the_pairs_are_swapped():
    """Of 4000 pairs 2000 are swapped to within three standard deviations, and both orders have the same lengths."""
    pairs = rows(sentence_order_pairs(layout_of([[5] * 4 for _ in range(4000)]), 28, 0, random_numbers(0)))
    assert len(pairs) == 4000
    assert abs(sum(pair.label for pair in pairs) - 2000) < 3 * 1000**0.5
    firsts = {label: [p.a_stop - p.a_start for p in pairs if p.label == label] for label in (0, 1)}
    assert all(abs(sum(lengths) / len(lengths) - 10) < 0.3 for lengths in firsts.values())


def test_no_document_of_two_sentences_gives_no_pair():
    """Documents of one sentence give no pair."""
    assert sentence_order_pairs(layout_of([[40], [], [7]]), 13, 0.1, random_numbers(0)).shape == (0, 6)
