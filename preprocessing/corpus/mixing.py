"""Mixing of the sources: how often a pass over the training documents takes each document."""

from random import Random

import numpy as np


def occurrences(weights: np.ndarray, number: int, random: Random) -> np.ndarray:
    """The documents that pass `number` takes: each as often as it occurs, first all that occur, then those that do
    so twice or more, and so on.

    Each document has one random phase, so that after any number n of passes it was taken n times its weight, to within
    one.

    Args:
        weights: (D,) weight of each document.
        number: 0 for the first pass.
        random: the same for each pass over these documents.
    """
    phases = np.array([random.random() for _ in weights])
    counts = np.floor(weights * (number + 1) + phases) - np.floor(weights * number + phases)  # (D,)
    rounds = [np.flatnonzero(counts > done) for done in range(int(counts.max(initial=0)))]
    return np.concatenate([np.zeros(0, np.int64), *rounds])
