"""Finds duplicate documents: equal ones, and optionally documents that share most of their text.

Equal documents share a partition, so each partition is searched separately. Near-duplicates may be in any partition:
their MinHash signatures (Broder 1997) are cut into bands; documents that agree in a band are candidates, and the later
one is dropped if the signatures agree in the required share of values. The document of the earlier file, within a file
that with the smaller index in its partition, is kept, so that the result does not depend on the workers.
"""

from collections.abc import Iterator

import numpy as np
import rensa

from preprocessing.corpus.corpus import Corpus
from preprocessing.filters import DUPLICATE, NEAR_DUPLICATE

PERMUTATIONS = 128
BANDS = 16
"""Bands of 8 values: two documents with a share s of common 5-grams are candidates with probability 1 - (1 - s^8)^16:
0.95 for s = 0.8, 0.27 for 0.6."""
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
    """Finds the documents to drop.

    Args:
        corpus: all documents, none dropped yet.
        near_threshold: share of equal signature values from which documents are near-duplicates; None: only equal
            documents are found.

    Returns:
        Per partition the sorted indices of the documents to drop, and their numbers by reason.
    """
    dropped = [_repeated(corpus.keys(partition)) for partition in range(len(corpus.partitioning))]
    counts = {DUPLICATE: sum(map(len, dropped))}
    if near_threshold is not None:
        near = _near(corpus, dropped, near_threshold)
        counts[NEAR_DUPLICATE] = sum(map(len, near))
        dropped = [np.union1d(*both) for both in zip(dropped, near, strict=True)]
    return dropped, {reason: count for reason, count in counts.items() if count}


def _repeated(keys: np.ndarray) -> np.ndarray:
    """Indices of the documents whose key (D,) equals that of an earlier document."""
    _, first = np.unique(keys, return_index=True)
    repeated = np.ones(len(keys), bool)
    repeated[first] = False
    return np.flatnonzero(repeated)


def _near(corpus: Corpus, dropped: list[np.ndarray], threshold: float) -> list[np.ndarray]:
    """Per partition the indices of near-duplicates among the documents that are not dropped yet."""
    kept = [np.setdiff1d(np.arange(count), gone) for count, gone in zip(corpus.stored_counts, dropped, strict=True)]
    signatures = np.concatenate([corpus.signatures(p)[numbers] for p, numbers in enumerate(kept)])  # (N, P)
    order = np.concatenate([corpus.places(p)[numbers] for p, numbers in enumerate(kept)])  # (N,) place in the input
    later = np.zeros(len(signatures), bool)
    for first, others in _candidates(signatures, order):
        agree = (signatures[others] == signatures[first]).mean(1)
        later[others[agree >= threshold]] = True
    bounds = np.cumsum([0, *map(len, kept)])
    return [numbers[later[a:b]] for numbers, a, b in zip(kept, bounds[:-1], bounds[1:], strict=True)]


def _candidates(signatures: np.ndarray, order: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """For each band and each value that several documents share: the first of these in the input, and the others."""
    width = PERMUTATIONS // BANDS
    for band in range(BANDS):
        values = np.ascontiguousarray(signatures[:, band * width : (band + 1) * width])  # (N, width)
        _, groups = np.unique(values.view(f"V{values.itemsize * width}")[:, 0], return_inverse=True)  # (N,)
        by_group = np.lexsort((order, groups))
        starts = np.flatnonzero(np.diff(groups[by_group], prepend=-1))
        for members in np.split(by_group, starts[1:]):
            if len(members) > 1:
                yield int(members[0]), members[1:]
