"""Layouts of made-up partitions, for tests of the segment strategies."""

from itertools import accumulate

from hypothesis import strategies as st

from preprocessing.segments.layout import Layout, Sample

DOCUMENTS = st.lists(st.lists(st.integers(1, 40), max_size=12), min_size=1, max_size=8).filter(any)
"""Lengths of the sentences of each document; some documents are empty, and at least one is not."""


def layout_of(documents: list[list[int]]) -> Layout:
    """Return the layout of documents given as lists of sentence lengths."""
    lengths = [length for document in documents for length in document]
    return Layout([0, *accumulate(lengths)], [0, *accumulate(map(len, documents))], range(len(documents)))


def document_at(layout: Layout, token: int) -> int:
    """Return the document that holds a token."""
    return next(d for d in range(len(layout.documents) - 1) if token < layout.sentences[layout.documents[d + 1]])


def rows(samples) -> list[Sample]:
    """Return the rows of an array of samples (N, 6)."""
    return [Sample(*row) for row in samples.tolist()]
