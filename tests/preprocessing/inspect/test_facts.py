"""Laws of preprocessing/inspect/facts.py."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from preprocessing.corpus.report import Tally
from preprocessing.inspect.facts import facts_of_documents, facts_of_samples, facts_of_sources, length_bins
from preprocessing.inspect.overview import DocumentsFigures, SourceFigures


def values(facts):
    return {fact.name: fact.values for fact in facts}


def test_samples_have_a_value_per_split(figures_of, make_random):
    """Each fact has a value per split, with thousands separated, and an empty split has no averages."""
    samples = make_random(1200)
    facts = values(facts_of_samples(figures_of(samples, [])))
    assert facts["samples"] == ["1,200", "0"]
    assert facts["samples per document"] == ["2.0", ""]
    assert facts["B is random"] == [f"{sum(label for *_, label, _ in samples) / 1200:.1%}", ""]
    assert all(len(row) == 2 for row in facts.values())


def test_labels_have_their_meaning_or_are_not_shown(figures_of, make_random):
    """Labels have the names of the strategy, and are not shown for a strategy without labels."""
    single = [(tokens, len(tokens), 0, document) for tokens, _, _, document in make_random(50)]
    facts = values(facts_of_samples(figures_of(single, single, segments="blocks")))
    assert "B is random" not in facts and facts["single segments"] == ["100.0%", "100.0%"]


def test_sources_are_those_of_all_splits(figures_of, make_random):
    """A source that one split lacks has no tokens there."""
    figures = figures_of(make_random(20), make_random(10, 1))
    assert facts_of_sources(figures) == []
    train, heldout = figures.splits
    shard = replace(train.listed.shards[0], tokens_by_source={"text:a": train.listed.tokens})
    figures = replace(figures, splits=[replace(train, listed=replace(train.listed, shards=(shard,))), heldout])
    assert values(facts_of_sources(figures)) == {"text:a": [f"{train.listed.tokens:,}  100.0%", "0    0.0%"]}


def test_documents_without_anything_are_not_divided_by():
    """Documents without any record have figures, and no average divides by zero."""
    nothing = DocumentsFigures(Path("documents"), Tally(), 0, 0, 0, [SourceFigures("text:a", 0, 0)], {})
    assert values(facts_of_documents(nothing))["documents"] == ["0"]


@pytest.mark.parametrize(("longest", "num_bins"), [(125, 8), (509, 32), (3, 8), (10, 10)])
def test_bins_hold_every_length_once(longest, num_bins):
    """Bins are consecutive from 1 to the longest length, and their shares are those of the lengths in them."""
    counts = np.arange(longest + 4) ** 2
    counts[longest + 1 :] = 0
    bins = length_bins(counts, longest, num_bins)
    assert [value for b in bins for value in range(b.first, b.last + 1)] == list(range(1, longest + 1))
    assert len(bins) == min(num_bins, longest)
    for b in bins:
        assert b.share == pytest.approx(counts[b.first : b.last + 1].sum() / counts.sum())
