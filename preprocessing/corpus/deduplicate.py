"""Documents that the corpus has already: equal ones, and on request those that share most of their text.

Equal documents share a partition, so each partition is looked at alone. Near-duplicates may be anywhere: their MinHash
signatures (Broder 1997) are cut into bands; documents that agree in a band meet, and the later one is dropped if the
signatures agree in the wanted share of places. The document of the earlier file, within a file that with the smaller
number in its partition, stays: the result does not depend on who computed what.
"""

from collections.abc import Iterator

import numpy as np
import rensa

from preprocessing.corpus.corpus import Corpus
from preprocessing.filters import DUPLICATE, NEAR_DUPLICATE

PERMUTATIONS = 128
BANDS = 16
"""Bands of 8 values: two documents with a share s of common 5-grams meet with probability 1 - (1 - s^8)^16: 0.95 for
s = 0.8, 0.27 for 0.6."""
_SHINGLE_WORDS = 5
_SEED = 1


def signature(text: str) -> bytes:
    """The MinHash of the text's word 5-grams, as PERMUTATIONS uint32 values."""
    words = text.lower().split()
    shingles = [" ".join(words[i : i + _SHINGLE_WORDS]) for i in range(max(1, len(words) - _SHINGLE_WORDS + 1))]
    minhash = rensa.RMinHash(num_perm=PERMUTATIONS, seed=_SEED)
    minhash.update(shingles)
    return np.array(minhash.digest(), np.uint32).tobytes()


def find_duplicates(corpus: Corpus, near_threshold: float | None) -> tuple[list[np.ndarray], dict[str, int]]:
    """Which documents to drop.

    Args:
        corpus: all documents, none dropped yet.
        near_threshold: share of equal signature values that makes a near-duplicate; None: equal documents only.

    Returns:
        Per partition the numbers of the documents to drop, sorted; and how many there are by reason.
    """
    dropped = [_repeated(corpus.keys(partition)) for partition in range(len(corpus.partitioning))]
    counts = {DUPLICATE: sum(map(len, dropped))}
    if near_threshold is not None:
        near = _near(corpus, dropped, near_threshold)
        counts[NEAR_DUPLICATE] = sum(map(len, near))
        dropped = [np.union1d(*both) for both in zip(dropped, near, strict=True)]
    return dropped, {reason: count for reason, count in counts.items() if count}


def _repeated(keys: np.ndarray) -> np.ndarray:
    """Numbers of the documents whose key (D,) an earlier one has."""
    _, first = np.unique(keys, return_index=True)
    repeated = np.ones(len(keys), bool)
    repeated[first] = False
    return np.flatnonzero(repeated)


def _near(corpus: Corpus, dropped: list[np.ndarray], threshold: float) -> list[np.ndarray]:
    """Near-duplicates among the documents that are not dropped yet, per partition."""
    kept = [np.setdiff1d(np.arange(count), gone) for count, gone in zip(corpus.stored_counts, dropped, strict=True)]
    signatures = np.concatenate([corpus.signatures(p)[numbers] for p, numbers in enumerate(kept)])  # (N, P)
    order = np.concatenate([corpus.places(p)[numbers] for p, numbers in enumerate(kept)])  # (N,) place in the input
    later = np.zeros(len(signatures), bool)
    for first, others in _meetings(signatures, order):
        agree = (signatures[others] == signatures[first]).mean(1)
        later[others[agree >= threshold]] = True
    bounds = np.cumsum([0, *map(len, kept)])
    return [numbers[later[a:b]] for numbers, a, b in zip(kept, bounds[:-1], bounds[1:], strict=True)]


def _meetings(signatures: np.ndarray, order: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """For each band and each value in it that several documents share: the first of them in the input, and the rest."""
    width = PERMUTATIONS // BANDS
    for band in range(BANDS):
        values = np.ascontiguousarray(signatures[:, band * width : (band + 1) * width])  # (N, width)
        _, groups = np.unique(values.view(f"V{values.itemsize * width}")[:, 0], return_inverse=True)  # (N,)
        by_group = np.lexsort((order, groups))
        starts = np.flatnonzero(np.diff(groups[by_group], prepend=-1))
        for members in np.split(by_group, starts[1:]):
            if len(members) > 1:
                yield int(members[0]), members[1:]
