"""Mixing of the sources by weights: how often each pass over the training documents takes a document."""

from random import Random

import numpy as np


def occurrences(weights: np.ndarray, number: int, random: Random) -> np.ndarray:
    """Indices of the documents that pass `number` takes: first all that occur, then those that occur twice or more,
    etc.

    Each document has a random phase, so that after n passes it was taken n times its weight, rounded up or down.

    Args:
        weights: (D,) weight of each document.
        number: index of the pass, from 0.
        random: generator in the same state for each pass over these documents.
    """
    phases = np.array([random.random() for _ in weights])
    counts = np.floor(weights * (number + 1) + phases) - np.floor(weights * number + phases)  # (D,)
    rounds = [np.flatnonzero(counts > done) for done in range(int(counts.max(initial=0)))]
    return np.concatenate([np.zeros(0, np.int64), *rounds])
