"""The samples of a global batch, and their division into micro-batches.

The order of an epoch is a bijection of [0, N) that is evaluated for single indices: no list is shuffled, stored or
replayed, so that the position in the data is one integer, `consumed_samples`, and any position of any epoch can be
computed directly at any world size.

The bijection is the generalised Feistel cipher of Black and Rogaway (2002), "Ciphers with arbitrary finite domains"
(doi:10.1007/3-540-45760-7_9): an index is written as (left, right) in Z_a x Z_b with a, b about sqrt(N); rounds add a
hash of one half to the other; results outside [0, N), fewer than one in sqrt(N), are enciphered again until they fall
inside (cycle walking).
"""

from math import isqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.data.hashing import Purpose, UInt64Array, below, fold, purpose_key

ROUNDS = 12
"""Rounds of the cipher. With 8, orders of fewer than 20 samples deviate measurably from a uniform distribution (over
200,000 epochs); orders of many samples do not with 6."""

Int64Array = npt.NDArray[np.int64]


class GlobalBatch(NamedTuple):
    """The samples of one optimizer step, in the order of training."""

    epochs: Int64Array
    """(B,) number of the pass over the dataset each sample belongs to."""
    indices: Int64Array
    """(B,) row of each sample in the dataset."""


def global_batch(consumed_samples: int, batch_size: int, dataset_size: int, seed: int) -> GlobalBatch:
    """Returns the samples that follow the first `consumed_samples`; a batch may contain samples of two epochs.

    Args:
        consumed_samples: samples of all optimizer steps before this one, over all ranks and epochs.
        batch_size: samples of the global batch B.
        dataset_size: samples of the dataset N, at least 1.
        seed: the run's seed.
    """
    places = np.arange(consumed_samples, consumed_samples + batch_size)  # (B,)
    epochs, positions = np.divmod(places, dataset_size)
    return GlobalBatch(epochs, permute(positions, epochs, dataset_size, seed))


def permute(positions: npt.ArrayLike, epochs: npt.ArrayLike, dataset_size: int, seed: int) -> Int64Array:
    """Returns the sample at each position of each epoch's order: for a fixed epoch a bijection of [0, dataset_size).

    Args:
        positions: (B,) integers in [0, dataset_size).
        epochs: (B,) or one non-negative integer.
        dataset_size: N, at most 2^62.
        seed: the run's seed.

    Returns:
        (B,) sample indices.
    """
    values, keys = np.broadcast_arrays(
        np.asarray(positions, np.uint64), fold(purpose_key(seed, Purpose.SAMPLE_ORDER), epochs)
    )
    values = _encipher(values, keys, dataset_size)
    outside = np.flatnonzero(values >= dataset_size)
    while outside.size:
        values[outside] = _encipher(values[outside], keys[outside], dataset_size)
        outside = outside[values[outside] >= dataset_size]
    return values.astype(np.int64)


def _encipher(values: UInt64Array, keys: UInt64Array, dataset_size: int) -> UInt64Array:
    """One pass of the cipher: for each key a bijection of [0, a * b), with dataset_size <= a * b < dataset_size + a."""
    a = isqrt(dataset_size - 1) + 1
    b = -(-dataset_size // a)
    left, right = np.divmod(values, np.uint64(b))
    for round_number in range(0, ROUNDS, 2):
        left = _add(left, fold(keys, right * np.uint64(ROUNDS) + np.uint64(round_number)), a)
        right = _add(right, fold(keys, left * np.uint64(ROUNDS) + np.uint64(round_number + 1)), b)
    return left * np.uint64(b) + right


def _add(half: UInt64Array, bits: UInt64Array, modulus: int) -> UInt64Array:
    """Returns half + bits in Z_modulus, for half in Z_modulus and random 64-bit numbers."""
    total = half + below(bits, modulus)
    return np.where(total >= modulus, total - np.uint64(modulus), total)


def deal(lengths: npt.NDArray[np.integer], num_groups: int) -> Int64Array:
    """Deals a global batch into groups of the same number of samples and nearly the same number of tokens.

    Longest first, in rounds: each round gives one sample to each group, the longest to the group with the fewest tokens
    so far. Ties keep the order of the batch, so the result is a function of the lengths alone. The sums of two groups
    never differ by more than max(lengths) - min(lengths): a round adds to the smaller sum at least what it adds to the
    larger, and at most that much more.

    Args:
        lengths: (B,) number of tokens of each sample.
        num_groups: number of micro-batches of the step over all ranks G; divides B.

    Returns:
        (G, B // G) positions in the batch, each group's longest sample first.
    """
    assert len(lengths) % num_groups == 0, f"{len(lengths)} samples cannot be dealt evenly to {num_groups} groups"
    longest_first = np.argsort(-lengths.astype(np.int64), kind="stable")
    rounds = longest_first.reshape(-1, num_groups)  # (B // G, G)
    sums = np.zeros(num_groups, np.int64)
    groups = np.empty_like(rounds)
    for dealt, group in zip(rounds, groups, strict=True):
        fewest_first = np.argsort(sums, kind="stable")
        group[fewest_first] = dealt
        sums[fewest_first] += lengths[dealt]
    return np.ascontiguousarray(groups.T)
