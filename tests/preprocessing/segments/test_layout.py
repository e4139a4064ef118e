"""Laws of preprocessing/segments/layout.py."""

from hypothesis import given
from hypothesis import strategies as st
from layouts import DOCUMENTS, layout_of

from preprocessing.segments.layout import Sample, as_array, draw, random_numbers


@given(DOCUMENTS, st.integers(-3, 100))
def test_fill_takes_the_shortest_run_that_reaches_the_target(documents, target):
    """The run with one sentence fewer would not reach the target; it is never empty, and ends at the document's end."""
    layout = layout_of(documents)
    for document in layout.present():
        start, end = layout.documents[document], layout.documents[document + 1]
        stop = layout.fill(start, end, target)
        first, last = layout.tokens((start, stop))
        assert start < stop <= end and (stop == end or last - first >= target)
        assert stop == start + 1 or layout.sentences[stop - 1] - first < target


def test_random_numbers_depend_on_their_key_alone():
    """Equal keys give equal random numbers on every machine, and other keys give others."""
    assert [random_numbers(1, "train", 0).random() for _ in range(2)] == [0.38864581476330107] * 2
    assert random_numbers(1, "train", 1).random() != random_numbers(1, "train", 0).random()
    assert {draw(random_numbers(seed), 3) for seed in range(50)} == {0, 1, 2}


def test_no_samples_are_an_array_too():
    """An array of no samples has the columns of any other."""
    assert as_array([]).shape == (0, 6)
    assert as_array([Sample(0, 1, 1, 2, 0, 3)]).tolist() == [[0, 1, 1, 2, 0, 3]]
