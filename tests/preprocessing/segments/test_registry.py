"""Laws that every strategy of preprocessing/segments/registry.py keeps."""

import pytest
from layouts import layout_of

from preprocessing.errors import DataError
from preprocessing.segments.defaults import SHORT_SEQ_PROBS
from preprocessing.segments.layout import random_numbers
from preprocessing.segments.registry import STRATEGIES, strategy

LAYOUT = layout_of([[7, 30, 2, 9] * 20, [5], [11] * 40])


@pytest.mark.parametrize("name", STRATEGIES)
def test_samples_are_a_function_of_layout_and_random_numbers(name):
    """Equal keys give equal samples; other keys give others exactly if the strategy states that it draws."""
    chosen = strategy(name)
    first, again, other = (
        chosen.samples(LAYOUT, 32, SHORT_SEQ_PROBS[name] or 0, random_numbers(seed)).tolist() for seed in (0, 0, 1)
    )
    assert first == again
    assert (first != other) == (SHORT_SEQ_PROBS[name] is not None)


@pytest.mark.parametrize("name", STRATEGIES)
def test_samples_are_as_long_and_labelled_as_the_strategy_says(name):
    """The longest text and the special tokens make max_seq_length, and labels are those that have a name, or 0."""
    chosen = strategy(name)
    samples = chosen.samples(LAYOUT, 32, 0, random_numbers(0))
    lengths = samples[:, 1] - samples[:, 0] + samples[:, 3] - samples[:, 2]
    assert lengths.max() == 32 - chosen.num_special_tokens
    assert set(samples[:, 4].tolist()) == set(range(len(chosen.labels) or 1))


def test_the_options_know_every_strategy():
    """The options list every strategy in the order of the registry."""
    assert list(SHORT_SEQ_PROBS) == list(STRATEGIES)


def test_an_unknown_strategy_is_named_with_those_that_there_are():
    """The error for an unknown strategy lists all names."""
    with pytest.raises(DataError, match="segments = 'ns': must be one of nsp, sop, electra, full_sentences"):
        strategy("ns")
