"""Floors equal their definitions, do not depend on word order, and are measured on samples that nothing
was fitted to.
"""

from dataclasses import astuple, replace
from itertools import product

import numpy as np
import pytest

from pipeline.data import floors as module
from pipeline.data.floors import HeldOut, Neighbours, fit_mixture, guesses, measure, restored, split_batch, unigram
from pipeline.data.heldout import evaluation_batches
from pipeline.data.loader import special_tokens
from pipeline.data.special_tokens import SpecialTokens
from pipeline.data.template import Template

MASK, VOCABULARY = 3, 40
SPECIAL = SpecialTokens({"mask": MASK}, np.arange(VOCABULARY) < 4, np.zeros(VOCABULARY, np.bool_))


def text(rng, topic, length=30):
    """Return a sample most of whose words come from one of four topics."""
    own = rng.integers(4 + 9 * topic, 13 + 9 * topic, length)
    return np.where(rng.random(length) < 0.8, own, rng.integers(4, VOCABULARY, length))


def held_out(rng, tokens, masked=5):
    """Return samples with five masked tokens each: three as [MASK], one random, one unchanged."""
    order = rng.permutation(len(tokens))
    labels = tokens[order[:masked]]
    shown = np.array([MASK, MASK, MASK, rng.integers(4, VOCABULARY), labels[-1]])
    return HeldOut(tokens[order[masked:]], shown, labels)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    training = [text(rng, number % 4) for number in range(120)]
    return training, [held_out(rng, text(rng, number % 4)) for number in range(40)]


def test_frequencies_have_one_added():
    """By Laplace's rule, a token that was never seen has the share of one occurrence."""
    assert unigram(np.array([1, 1, 3]), 4).tolist() == [1 / 7, 3 / 7, 1 / 7, 2 / 7]


def test_a_shown_token_is_taken_into_account_by_bayes_rule():
    """The probability of each label, and the best guess, equal those of the joint distribution, summed explicitly."""
    size, mask = 5, 4
    prior = np.array([0.5, 0.3, 0.15, 0.05, 0.0])
    joint = np.zeros((size, size + 1))  # (label, shown); the last column is [MASK]
    for label, shown in product(range(size), range(size)):
        joint[label, shown] = prior[label] * (0.1 * (label == shown) + 0.1 / size)
    joint[:, size] = 0.8 * prior
    conditional = joint / joint.sum(axis=0)
    for label, shown in product(range(4), [0, 1, 2, 3, mask]):
        column = size if shown == mask else shown
        sample = HeldOut(np.array([0]), np.array([shown]), np.array([label]))
        assert restored(prior, sample, mask) == pytest.approx(conditional[label, column])
        assert guesses(prior, sample.shown, mask) == [conditional[:, column].argmax()]
    rare = np.array([0.9, 0.0, 0.05, 0.05])
    assert guesses(rare, np.array([1]), 3) == [0], "a token that never occurs was put there at random"


def test_weights_of_a_mixture_are_the_most_probable_ones():
    """No other weights on a grid give the observations a higher probability."""
    parts = np.random.default_rng(1).random((3, 200)) * np.array([[1.0], [0.8], [0.3]])
    likelihood = lambda weights: np.log(weights @ parts).sum()  # noqa: E731
    found = fit_mixture(parts)
    grid = [(a, b, 1 - a - b) for a, b in product(np.linspace(0, 1, 41), repeat=2) if a + b <= 1]
    assert found.sum() == pytest.approx(1)
    assert likelihood(found) > max(likelihood(np.array(weights)) for weights in grid) - 0.05
    assert fit_mixture(np.empty((3, 0))).tolist() == [1 / 3] * 3


def test_similar_samples_are_weighted_by_the_square_of_their_similarity():
    """The weights equal those of a loop over the training samples; without a common word, the other distribution is
    used.
    """
    training = [np.array([0, 1, 1]), np.array([1, 2]), np.array([3, 3, 4, 2])]
    otherwise = np.full(6, 1 / 6)
    idf = [np.log(3 / sum(token in sample for sample in training)) for token in range(5)]
    expected = np.zeros(6)
    for sample in training:
        cosine = sum(idf[t] ** 2 for t in sample if t in (1, 3)) / np.sqrt(sum(idf[t] ** 2 for t in sample))
        np.add.at(expected, sample, cosine**2)
    found = Neighbours(training, otherwise).distribution(np.array([3, 1, 3]))
    assert found == pytest.approx(expected / expected.sum())
    assert Neighbours(training, otherwise).distribution(np.array([5])) is otherwise


def test_floors_know_nothing_of_order(data):
    """Floors are the same for every order of the words of a sample, and change with its words."""
    training, samples = data
    rng = np.random.default_rng(2)
    expected = measure(training, samples, SPECIAL)
    others = samples[1:] + samples[:1]
    shuffled = [HeldOut(rng.permutation(each.words), each.shown, each.labels) for each in samples]
    found = measure([rng.permutation(each) for each in training], shuffled, SPECIAL)
    assert astuple(found) == pytest.approx(astuple(expected), rel=1e-12)
    swapped = [HeldOut(b.words, a.shown, a.labels) for a, b in zip(samples, others, strict=True)]
    assert measure(training, swapped, SPECIAL).context > expected.context + 0.1
    assert measure(training, swapped, SPECIAL).unigram == expected.unigram


def test_the_context_is_worth_something_on_topical_text_only(data):
    """The context lowers the loss if the words of a sample share a topic, and does not if they are independent."""
    training, samples = data
    floors = measure(training, samples, SPECIAL)
    assert floors.context < floors.unigram - 0.3
    rng = np.random.default_rng(3)
    independent = [held_out(rng, rng.integers(4, VOCABULARY, 30)) for _ in range(200)]
    floors = measure([rng.integers(4, VOCABULARY, 30) for _ in range(120)], independent, SPECIAL)
    assert floors.context == pytest.approx(floors.unigram, abs=0.02)


def test_nothing_is_fitted_to_the_half_that_is_measured(data, monkeypatch):
    """The weights used for one half of the samples are fitted to the labels of the other half only."""
    training, samples = data
    seen = []
    monkeypatch.setattr(module, "fit_mixture", lambda parts: seen.append(parts) or np.array([1.0, 0.0, 0.0]))
    measure(training, samples, SPECIAL)
    assert [parts.shape for parts in seen] == [(3, 60), (3, 60)], "three of five tokens are shown as [MASK]"
    frequencies = unigram(np.concatenate(training), VOCABULARY)
    for parts, half in zip(seen, (samples[1::2], samples[::2]), strict=True):
        assert parts[0] == pytest.approx(np.concatenate([frequencies[each.labels[:3]] for each in half]))


def test_the_gain_of_the_context_is_that_of_the_first_samples(data, monkeypatch):
    """The gain of the context is measured on the first samples, and the unigram floor on all of them."""
    training, samples = data
    all_, part = measure(training, samples, SPECIAL), measure(training, samples[:10], SPECIAL)
    monkeypatch.setattr(module, "CONTEXT_SAMPLES", 10)
    found = measure(training, samples, SPECIAL)
    assert found.unigram == all_.unigram
    assert found.unigram - found.context == pytest.approx(part.unigram - part.context)


@pytest.mark.parametrize("micro_batch_size", [3, 30])
def test_batches_are_split_into_their_samples(write_samples, micro_batch_size):
    """Visible words, shown tokens and labels of each sample do not depend on the batch in which it was read."""
    dataset = write_samples(30)
    special = special_tokens(dataset, Template())
    special = replace(special, is_special=np.arange(special.vocab_size) < 5)
    batches = [*evaluation_batches(dataset, Template(), micro_batch_size, 0, 1, 30)]
    rows = [row for batch in batches for row in batch.sample_ids]
    found = dict(zip(rows, [part for batch in batches for part in split_batch(batch, special)], strict=True))
    assert len(found) == 30
    for row, part in found.items():
        (tokens,) = dataset.tokens(np.array([row]))
        assert sorted([*part.words, *part.labels]) == sorted(tokens)
        assert len(part.shown) == len(part.labels)
    shown = np.concatenate([part.shown for part in found.values()])
    assert 0.6 < (shown == special.ids["mask"]).mean() < 0.95
