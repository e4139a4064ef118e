"""Counter-based random numbers: a 64-bit hash of integers, vectorised and without state.

A random number must be a function of (seed, epoch, sample, position) and of nothing else. The numbers of a generator
depend on the numbers drawn before, and therefore on batch, rank, worker and restart; those of a hash do not.

SplitMix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators", doi:10.1145/2660193.2660195)
gives output number n of the stream started at `key` directly as `finalise(key + (n + 1) * GOLDEN)`, with the finaliser
"Mix13" of David Stafford. `fold` is that output; folding counters in one after another makes each output the key of the
next stream.
"""

from enum import IntEnum

import numpy as np
import numpy.typing as npt

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd: the stride of SplitMix64

UInt64Array = npt.NDArray[np.uint64]


class Purpose(IntEnum):
    """The decision that a random number is used for: the first counter of every key, so that decisions are independent.

    The numbers are part of the data order: changing one changes every run.
    """

    SAMPLE_ORDER = 0
    MASKED_POSITION = 1
    MASK_ACTION = 2
    RANDOM_TOKEN = 3
    MASK_COUNT = 4
    CONTEXT_ORDER = 5
    DROPOUT = 6  # of fine-tuning
    NGRAM_LENGTH = 7
    REPLACEMENT = 8  # of masked tokens by a generator's samples


@np.errstate(over="ignore")  # arithmetic modulo 2^64 is intended
def fold(keys: npt.ArrayLike, counters: npt.ArrayLike) -> UInt64Array:
    """Returns output number `counters` of the SplitMix64 streams started at `keys`.

    Args:
        keys: integers in [0, 2^64), any shape.
        counters: integers in [0, 2^64), a shape that broadcasts against `keys`.

    Returns:
        Uniform 64-bit numbers of the broadcast shape: random numbers, or the keys of further folds.
    """
    bits = np.asarray(keys, np.uint64) + (np.asarray(counters, np.uint64) + np.uint64(1)) * GOLDEN
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(bits ^ (bits >> np.uint64(31)))


def purpose_key(seed: int, purpose: Purpose) -> UInt64Array:
    """Returns the key, a 0-d array, of all draws of a purpose in a run with this seed, an integer in [0, 2^64)."""
    return fold(seed, purpose)


def below(bits: UInt64Array, bound: int) -> UInt64Array:
    """Returns uniform integers in [0, bound) from uniform 64-bit numbers, for bound <= 2^32.

    Multiply and shift (Lemire 2019, arXiv:1805.10941) without the rejection step: no outcome is off by more than bound
    / 2^32.
    """
    return ((bits >> np.uint64(32)) * np.uint64(bound)) >> np.uint64(32)
