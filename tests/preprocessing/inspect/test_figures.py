"""Laws of preprocessing/inspect/figures.py."""

import math

import pytest


def test_padding_is_that_of_a_padded_batch(figures_of, make_random):
    """The padding is the empty share of a batch that has all samples in max_seq_length tokens, with their special
    tokens.
    """
    samples = [*make_random(50), ([5] * 30, 30, 0, 40)]
    train = figures_of(samples, []).splits[0]
    used = [len(tokens) + (3 if boundary < len(tokens) else 2) for tokens, boundary, *_ in samples]
    assert train.padding == pytest.approx(1 - sum(used) / (32 * len(samples)))
    assert train.single_share == pytest.approx(1 / 51)


def test_shares_are_those_of_the_samples(figures_of):
    """Mean length, labels, unknown tokens and used vocabulary equal counts by hand."""
    train = figures_of(
        [([5, 1, 6], 1, 1, 0), ([5, 1, 7, 8, 1], 2, 0, 1), ([9, 9], 1, 1, 1), ([9, 9], 1, 1, 2)], []
    ).splits[0]
    assert train.mean_length == 3
    assert train.label_shares.tolist() == [0.25, 0.75]
    assert train.unknown_share == 3 / 12
    assert train.vocabulary_share == 6 / 120
    assert train.repeated_share == 0.25
    assert train.special == 0


def test_the_cross_entropy_is_that_of_the_frequencies_in_train(figures_of):
    """Tokens of either split are predicted by the counts of train plus one, as the floors of a run predict them."""
    figures = figures_of([([5, 5, 5], 1, 1, 0)], [([5, 6], 1, 1, 1)])
    five, other = math.log(123 / 4), math.log(123)
    assert [figures.cross_entropy(split) for split in figures.splits] == pytest.approx([five, (five + other) / 2])


def test_other_special_tokens_are_counted_apart(figures_of):
    """[MASK] is not counted as text, and [UNK] may be."""
    assert figures_of([([5, 1, 4, 0], 1, 1, 0)], []).splits[0].special == 2


def test_an_empty_split_is_not_filled(figures_of, make_random):
    """An empty split has figures, and nothing divides by zero."""
    figures = figures_of(make_random(5), [])
    assert [split.name for split in figures.filled] == ["train"]
    assert figures.heldout_in_train == figures.splits[1].repeated_share == 0
