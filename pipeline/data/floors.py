"""Held-out losses of predictors that know words but not their order: the floors that a model must fall below.

Both predictors see the token that stands at a masked position, as a model does: a tenth of the masked tokens are
unchanged and a tenth are random (`pipeline.data.masking`), which Bayes' rule takes into account. Without it, a loss
would seem to be below the unigram floor as soon as the model copies the unchanged tokens.

- **Unigram**: the frequencies of tokens in the training samples, with 1 added to each count (Laplace).
- **Context**: a mixture of those, of the frequencies in the sample itself (Kuhn and De Mori 1990, a cache), and of the
  tokens in training samples, each weighted by the square of its cosine similarity to the sample in tf-idf (a relevance
  model: Lavrenko and Croft 2001, doi:10.1145/383952.383972). The weights of the mixture are fitted to one half of the
  held-out samples for the other half, and vice versa, so that no loss is measured on what was fitted to it. Training
  samples would not do: copies and overlapping pairs of the same document would make similar samples look too good.

Shapes: V tokens of the vocabulary, T tokens of all training samples, N training samples, M masked tokens.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pipeline.data.batch import Batch
from pipeline.data.special_tokens import SpecialTokens
from pipeline.runlog.floors import Floors

CONTEXT_SAMPLES = 256
"""Number of held-out samples on which the gain of the context is measured. A sample takes some milliseconds."""
NEIGHBOUR_TOKENS = 2**19
"""Number of training tokens among which similar samples are searched. Twice as many gain 0.01 nats on Wikipedia."""
ROUNDS = 50
"""Rounds of expectation maximisation, after which the weights of a mixture change in the fourth digit at most."""

Int64Array = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """One held-out sample: what its predictors see and have to restore."""

    words: Int64Array
    """(n,) visible text tokens, in any order."""
    shown: Int64Array
    """(m,) tokens that stand at the masked positions."""
    labels: Int64Array
    """(m,) original tokens there."""


def split_batch(batch: Batch, special: SpecialTokens) -> list[HeldOut]:
    """Returns the samples of an evaluation batch without padding."""
    input_ids, positions = batch.input_ids.numpy(), batch.targets["positions"].numpy()
    is_visible = ~special.is_special[input_ids]
    is_visible[positions] = False
    starts = batch.cu_seqlens.numpy()[: batch.num_samples + 1]
    edges = np.searchsorted(positions, starts)
    words = [input_ids[a:b][is_visible[a:b]] for a, b in pairwise(starts)]
    shown = np.split(input_ids[positions], edges[1:-1])
    labels = np.split(batch.targets["labels"].numpy(), edges[1:-1])
    return [HeldOut(*each) for each in zip(words, shown, labels, strict=True)]


def measure(training: Sequence[npt.NDArray[np.integer]], heldout: Iterable[HeldOut], special: SpecialTokens) -> Floors:
    """Returns the floors of held-out samples.

    The context's gain is measured on the first CONTEXT_SAMPLES of them and subtracted from the unigram floor of all:
    the loss of few samples depends on which they are, the gain hardly.

    Args:
        training: N arrays, the text tokens of training samples in random order; not empty.
        heldout: the evaluated samples; at least one masked token among them.
        special: the mask token and the size of the vocabulary.
    """
    mask, samples = special.ids["mask"], list(heldout)
    frequencies = unigram(np.concatenate(training), special.vocab_size)
    losses, right = [], []
    for sample in samples:
        losses.append(-np.log(restored(frequencies, sample, mask)))
        right.append(guesses(frequencies, sample.shown, mask) == sample.labels)
    chosen = samples[:CONTEXT_SAMPLES]
    gain = np.concatenate(losses[: len(chosen)]).mean() - context_loss(training, chosen, frequencies, mask)
    loss = float(np.concatenate(losses).mean())
    return Floors(loss, float(np.concatenate(right).mean()), float(loss - gain))


def unigram(tokens: npt.NDArray[np.integer], vocab_size: int) -> FloatArray:
    """Returns (V,) the frequencies of tokens (T,), with 1 added to each count."""
    counts = np.bincount(tokens, minlength=vocab_size) + 1.0
    return np.asarray(counts / counts.sum())


def restored(prior: FloatArray, sample: HeldOut, mask: int) -> FloatArray:
    """Returns (m,) the probability of each label, given the distribution (V,) of words and the token that is shown."""
    return posterior(prior[sample.labels], prior[sample.shown], sample, mask, len(prior))


def posterior(of_labels: FloatArray, of_shown: FloatArray, sample: HeldOut, mask: int, vocab_size: int) -> FloatArray:
    """Returns (m,) the probability of each label, given the token that is shown, by Bayes' rule.

    A token t other than [MASK] is shown for the label w with probability 0.1 [w = t] + 0.1 / V: unchanged or random.

    Args:
        of_labels: (m,) probability of each label before the token is seen.
        of_shown: (m,) the same of each token that is shown.
        sample: labels, and the tokens that are shown.
        mask: id of [MASK], which says nothing about the label.
        vocab_size: number of random tokens V.
    """
    likelihood = (sample.labels == sample.shown) + 1 / vocab_size
    return np.where(sample.shown == mask, of_labels, of_labels * likelihood / (of_shown + 1 / vocab_size))


def guesses(prior: FloatArray, shown: Int64Array, mask: int) -> Int64Array:
    """Returns (m,) the most probable label for each token that is shown, given the distribution (V,) of words."""
    best, uniform = int(prior.argmax()), 1 / len(prior)
    keeps = (shown != mask) & (prior[shown] * (1 + uniform) >= prior[best] * uniform)
    return np.where(keeps, shown, best)


def context_loss(
    training: Sequence[npt.NDArray[np.integer]], samples: Sequence[HeldOut], frequencies: FloatArray, mask: int
) -> float:
    """Returns the mean loss of the context's mixture on held-out samples.

    Args:
        training: as in `measure`; the samples of the first NEIGHBOUR_TOKENS tokens are searched.
        samples: held-out samples.
        frequencies: (V,) frequencies of tokens.
        mask: id of [MASK].
    """
    few = 1 + int(np.searchsorted(np.cumsum([*map(len, training)]), NEIGHBOUR_TOKENS))
    neighbours = Neighbours(training[:few], frequencies)
    halves = [[_Parts.of(sample, frequencies, neighbours) for sample in samples[half::2]] for half in (0, 1)]
    losses = []
    for half, other in (halves, halves[::-1]):
        masked = [each.labels[:, each.sample.shown == mask] for each in other]
        weights = fit_mixture(np.concatenate([np.empty((3, 0)), *masked], axis=1))
        for each in half:
            of_labels, of_shown = weights @ each.labels, weights @ each.shown
            losses.append(-np.log(posterior(of_labels, of_shown, each.sample, mask, len(frequencies))))
    return float(np.concatenate(losses).mean())


class Neighbours:
    """Training samples, to be weighted by their similarity to the words of another sample."""

    def __init__(self, training: Sequence[npt.NDArray[np.integer]], otherwise: FloatArray) -> None:
        """Args:
        training: N arrays of tokens, none of them empty.
        otherwise: (V,) distribution for a sample that has no word in common with any of them.
        """
        self._tokens = np.concatenate(training).astype(np.int64)  # (T,)
        self._sizes = np.array([len(sample) for sample in training])  # (N,)
        self._starts = np.cumsum(self._sizes) - self._sizes  # (N,)
        self._otherwise = otherwise
        holding = np.bincount(np.concatenate([np.unique(sample) for sample in training]), minlength=len(otherwise))
        self._weights = np.log(len(training) / np.maximum(holding, 1)) ** 2  # (V,) squared inverse document frequency
        self._norms = np.sqrt(np.add.reduceat(self._weights[self._tokens], self._starts))  # (N,)

    def distribution(self, words: Int64Array) -> FloatArray:
        """Returns (V,) the distribution of tokens in the training samples, each weighted by its squared similarity.

        Args:
            words: (n,) tokens of the other sample.
        """
        weights = np.zeros_like(self._weights)
        weights[words] = self._weights[words]
        shared = np.add.reduceat(weights[self._tokens], self._starts)  # (N,)
        similar = np.divide(shared, self._norms, out=np.zeros_like(shared), where=self._norms > 0) ** 2
        if not similar.any():
            return self._otherwise
        found = np.bincount(self._tokens, weights=np.repeat(similar, self._sizes), minlength=len(weights))
        return np.asarray(found / found.sum())


@dataclass(frozen=True, eq=False)
class _Parts:
    """The probabilities that the three parts of the context's mixture give to tokens of one held-out sample."""

    sample: HeldOut
    labels: FloatArray
    """(3, m) of the labels."""
    shown: FloatArray
    """(3, m) of the tokens that are shown."""

    @classmethod
    def of(cls, sample: HeldOut, frequencies: FloatArray, neighbours: Neighbours) -> "_Parts":
        cache = np.bincount(sample.words, minlength=len(frequencies)) / max(1, len(sample.words))
        mixed = np.stack([frequencies, cache, neighbours.distribution(sample.words)])  # (3, V)
        return cls(sample, mixed[:, sample.labels], mixed[:, sample.shown])


def fit_mixture(probabilities: FloatArray) -> FloatArray:
    """Returns (K,) the weights under which a mixture gives data the highest probability (Jelinek and Mercer 1980).

    Args:
        probabilities: (K, M) probability that each part of the mixture gives to each of M observations, those of the
            first part above 0; equal weights if M is 0.
    """
    weights = np.full(len(probabilities), 1 / len(probabilities))
    for _ in range(ROUNDS if probabilities.shape[1] else 0):
        shares = probabilities * weights[:, None]
        weights = (shares / shares.sum(axis=0)).mean(axis=1)
    return weights
