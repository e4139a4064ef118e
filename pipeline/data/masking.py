"""Dynamic masking: which tokens of a sample the model must restore, and what stands in their place.

The rule is BERT's (google-research/bert, create_pretraining_data.py, create_masked_lm_predictions): a number of positions that follows
from the sample's length, drawn without replacement from its text tokens; each drawn token becomes [MASK] with probability 0.8, a token
drawn from the whole vocabulary with 0.1, and stays with 0.1. What differs is when: masks are drawn anew in each epoch, as a function of
(seed, epoch, sample, position), so no masked copies lie on disk and a sample's masks do not depend on its batch, rank or worker.

Whole-word masking takes words in random order and skips a word that would exceed the number, as BERT does; BERT may then fall short of
the number, whereas here leading pieces of the first skipped word make it up. The counts must be exact, because the loss of a global
batch is divided by a number that every rank computes from the lengths alone.

Shapes: B samples, T tokens of all of them with special tokens, L tokens of the longest, M masked tokens.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.data.hashing import Purpose, UInt64Array, below, fold, purpose_key

MASK_SHARE, RANDOM_SHARE = 0.8, 0.1  # the rest is kept

Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

POSITION_BITS = np.uint64(16)  # a sample has fewer than 2^16 tokens: `boundary` on disk is uint16
NOT_A_CANDIDATE = np.uint64(2**64 - 1)


@dataclass(frozen=True)
class MaskingConfig:
    """How many tokens are masked, in which units, and how often the masks change."""

    probability: float = 0.15
    """Share of a sample's tokens, special tokens counted, that are masked; above 0, at most 0.5."""
    max_predictions: int = 20
    """Upper bound on the masked tokens of a sample (BERT: 20 at 128 tokens, about 80 at 512)."""
    whole_word: bool = False
    """Mask all pieces of a word together."""
    duplicates: int = 0
    """Static masking: number of fixed masks that the epochs take in turn; 0 draws new masks in every epoch."""

    def __post_init__(self) -> None:
        if not 0 < self.probability <= 0.5:
            raise ValueError(f"probability is {self.probability}; it must be above 0 and at most 0.5 (BERT: 0.15)")
        if self.max_predictions < 1:
            raise ValueError(f"max_predictions is {self.max_predictions}; it must be at least 1 (BERT: 20)")
        if self.duplicates < 0:
            raise ValueError(f"duplicates is {self.duplicates}; it must be 0 (dynamic masking) or a number of masks")


class Draw(NamedTuple):
    """What the random numbers of a batch's masks are a function of."""

    seed: int
    """The run's seed."""
    epochs: Int64Array
    """(B,) pass over the dataset each sample belongs to."""
    indices: Int64Array
    """(B,) row of each sample in the dataset."""

    def keys(self, purpose: Purpose, config: MaskingConfig) -> UInt64Array:
        """(B,) one key per sample, for draws of one purpose."""
        epochs = self.epochs % config.duplicates if config.duplicates else self.epochs
        return fold(fold(purpose_key(self.seed, purpose), epochs), self.indices)


class Masked(NamedTuple):
    """A masked batch."""

    input_ids: Int64Array
    """(T,) tokens with the masks applied."""
    positions: Int64Array
    """(M,) ascending indices into T of the masked tokens."""
    labels: Int64Array
    """(M,) the tokens that stood there."""


def num_predictions(lengths: npt.NDArray[np.integer], config: MaskingConfig) -> Int64Array:
    """Masked tokens of samples: min(max_predictions, max(1, round(length * probability))), a half rounded to even as Python does.

    Args:
        lengths: (B,) tokens of each sample, special tokens counted.
        config: the masking rule.

    Returns:
        (B,) counts. With two segments, neither empty, a sample never has fewer text tokens than that.
    """
    return np.clip(np.rint(lengths * config.probability), 1, config.max_predictions).astype(np.int64)


def mask(
    input_ids: Int64Array,
    is_text: BoolArray,
    cu_seqlens: npt.NDArray[np.integer],
    draw: Draw,
    config: MaskingConfig,
    mask_id: int,
    is_continuation: BoolArray,
) -> Masked:
    """Masks a packed batch.

    Args:
        input_ids: (T,) tokens of all samples, one after another.
        is_text: (T,) False at special tokens, which are never masked.
        cu_seqlens: (B + 1,) where each sample starts; the last entry is T.
        draw: seed, epochs and indices of the samples.
        config: the masking rule.
        mask_id: id of [MASK].
        is_continuation: (V,) True for the pieces of the vocabulary that continue a word.
    """
    starts, lengths = cu_seqlens[:-1], np.diff(cu_seqlens)
    counts = num_predictions(lengths, config)
    is_head = is_text & ~_continues(input_ids, is_text, is_continuation) if config.whole_word else is_text
    heads = _in_random_order(is_head, lengths, draw.keys(Purpose.MASKED_POSITION, config))
    if config.whole_word:
        first, taken = _whole_words(starts[:, None] + heads, _word_sizes(is_head, is_text), np.diff(x), counts)
    positions = np.sort(_ranges(first, taken))
    assert len(positions) == counts.sum(), "masked tokens differ from the number the lengths give"
    return _replace(...)
