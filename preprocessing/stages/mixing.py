"""Mixing of the sources: how often a pass over the training documents takes each document."""

from collections.abc import Sequence
from random import Random

import numpy as np

from preprocessing.errors import DataError

WEIGHTS_HELP = (
    "How often a pass over the training documents takes those of each source, one number per source in the order of "
    "--sources: 2 twice, 0.5 a random half of them, and in the next of several passes (--duplicates) the other half; "
    "each once by default. Held-out documents are always taken once."
)


def check_weights(weights: Sequence[float], sources: Sequence[str]) -> None:
    """Checks that there is a weight for each source, or none at all.

    Raises:
        DataError: there are more or fewer.
    """
    if weights and len(weights) != len(sources):
        raise DataError(
            f"--weights has {len(weights)} numbers and the documents come from {len(sources)} sources "
            f"({', '.join(sources)}); give one for each, in this order"
        )


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
