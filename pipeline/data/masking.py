"""Dynamic masking: which tokens of a sample the model must restore, and what stands in their place.

The rule is BERT's (google-research/bert, create_pretraining_data.py, create_masked_lm_predictions): a number of
positions that follows from the sample's length, drawn without replacement from its text tokens; each drawn token
becomes [MASK] with probability 0.8, a token drawn from the whole vocabulary with 0.1, and stays with 0.1. What differs
is when: masks are drawn anew in each epoch, as a function of (seed, epoch, sample, position), so no masked copies lie
on disk and a sample's masks do not depend on its batch, rank or worker.

Whole-word masking takes words in random order and skips a word that would exceed the number, as BERT does; BERT may
then fall short of the number, whereas here leading pieces of the first skipped word make it up. The counts must be
exact, because the loss of a global batch is divided by a number that every rank computes from the lengths alone.

Shapes: B samples, T tokens of all of them with special tokens, L tokens of the longest, M masked tokens.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.data.config import MaskingConfig
from pipeline.data.hashing import Purpose, UInt64Array, below, fold, purpose_key
from pipeline.data.special_tokens import SpecialTokens

Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
POSITION_BITS = np.uint64(0xFFFF)  # a sample has fewer than 2^16 tokens: `boundary` on disk is uint16


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
    """Masked tokens of samples: min(max_predictions, max(1, round(length * probability))), a half rounded to even.

    Args:
        lengths: (B,) tokens of each sample, special tokens counted.
        config: the masking rule.

    Returns:
        (B,) counts. With two segments, neither empty, a sample never has fewer text tokens than that.
    """
    return np.clip(np.rint(lengths * config.probability), 1, config.max_predictions).astype(np.int64)


def mask_tokens(
    input_ids: Int64Array,
    is_text: BoolArray,
    cu_seqlens: npt.NDArray[np.integer],
    draw: Draw,
    config: MaskingConfig,
    special: SpecialTokens,
) -> Masked:
    """Masks a packed batch: exactly `num_predictions` text tokens of each sample.

    Args:
        input_ids: (T,) tokens of all samples, one after another.
        is_text: (T,) False at special tokens, which are never masked.
        cu_seqlens: (B + 1,) where each sample starts; the last entry is T.
        draw: seed, epochs and indices of the samples.
        config: the masking rule.
        special: the id of [MASK], the vocabulary's size and its word continuations.
    """
    starts, lengths = cu_seqlens[:-1], np.diff(cu_seqlens)
    counts = num_predictions(lengths, config)
    num_text = np.add.reduceat(is_text, starts, dtype=np.int64)  # (B,)
    assert (counts <= num_text).all(), "a sample has fewer text tokens than must be masked"

    sizes = _word_sizes(input_ids, is_text, special.is_continuation) if config.whole_word else is_text.astype(np.int64)
    order, sizes = _shuffle_units(sizes, lengths, draw.keys(Purpose.MASKED_POSITION, config))
    taken = _take_words(sizes, counts) if config.whole_word else _take_tokens(counts)
    rows, ranks = np.nonzero(taken)
    positions = np.sort(ranges(starts[rows] + order[rows, ranks], taken[rows, ranks]))  # (M,)

    rows = np.repeat(np.arange(len(starts)), counts)  # (M,) sample of each masked position
    replaced = input_ids.copy()
    replaced[positions] = _replacements(input_ids[positions], rows, positions - starts[rows], draw, config, special)
    return Masked(replaced, positions, input_ids[positions])


def ranges(starts: npt.NDArray[np.integer], lengths: npt.NDArray[np.integer]) -> Int64Array:
    """The concatenation of start, start + 1, ..., start + length - 1 over all pairs of start and length."""
    ends = np.cumsum(lengths, dtype=np.int64)
    total = int(ends[-1])
    return np.arange(total) + np.repeat(starts - (ends - lengths), lengths)


def _word_sizes(input_ids: Int64Array, is_text: BoolArray, is_continuation: BoolArray) -> Int64Array:
    """(T,) pieces of the word that starts at each position, 0 where none does.

    A continuation after a special token starts a word of its own: truncation may have cut its head off.
    """
    continues = is_continuation[input_ids] & is_text
    continues[1:] &= is_text[:-1]
    edges = np.flatnonzero(~continues)
    sizes = np.zeros(len(input_ids), np.int64)
    sizes[edges] = np.diff(edges, append=len(input_ids))
    return sizes * is_text


def _shuffle_units(
    sizes: Int64Array, lengths: npt.NDArray[np.integer], keys: UInt64Array
) -> tuple[Int64Array, Int64Array]:
    """Puts the units (tokens or words) of each sample into a random order.

    Args:
        sizes: (T,) tokens of the unit that starts at each position, 0 where none does.
        lengths: (B,) tokens of each sample.
        keys: (B,) key of each sample's draws.

    Returns:
        (B, L) positions within the sample, those where a unit starts in random order before all others, and (B, L) the
        sizes there.
    """
    columns = np.arange(lengths.max(), dtype=np.uint64)  # (L,)
    padded = np.zeros((len(lengths), len(columns)), np.int64)  # (B, L)
    padded[columns < lengths[:, None]] = sizes
    # Sorting numbers that end in their own position sorts the positions, without ties and so the same on every machine.
    tickets = fold(keys[:, None], columns) & ~POSITION_BITS | columns  # (B, L)
    tickets[padded == 0] |= ~POSITION_BITS
    tickets.sort(axis=1)
    order = (tickets & POSITION_BITS).astype(np.int64)
    return order, np.take_along_axis(padded, order, axis=1)


def _take_tokens(counts: Int64Array) -> Int64Array:
    """(B, max(counts)) what `_take_words` takes where every unit is a token: 1 from each of the first `counts`."""
    return (np.arange(counts.max()) < counts[:, None]).astype(np.int64)


def _take_words(sizes: Int64Array, counts: Int64Array) -> Int64Array:
    """How many tokens are taken from each word, the sum being exactly `counts`.

    Words are visited in order; one larger than the room left is skipped. If room is left in the end, the first skipped
    word is larger than it, because it was larger than the room of its time; its first pieces fill it.

    Args:
        sizes: (B, L) pieces of each word, in the order of the visit; 0 after the last word.
        counts: (B,) tokens to take from each sample, at most the sum of its sizes.

    Returns:
        (B, L) tokens taken from each word.
    """
    room = counts.copy()
    taken = np.zeros_like(sizes)
    for size, take in zip(sizes.T, taken.T, strict=True):
        take[:] = np.where(size <= room, size, 0)
        room -= take
        if not room.any():
            break
    first_skipped = ((sizes > 0) & (taken == 0)).argmax(axis=1)
    taken[np.arange(len(sizes)), first_skipped] += room
    return taken


def _replacements(
    labels: Int64Array,
    rows: Int64Array,
    positions: Int64Array,
    draw: Draw,
    config: MaskingConfig,
    special: SpecialTokens,
) -> Int64Array:
    """(M,) what replaces the masked tokens: 80 % [MASK], 10 % any token of the vocabulary, 10 % the token itself.

    Args:
        labels: (M,) the masked tokens.
        rows: (M,) sample of each.
        positions: (M,) position of each within its sample.
        draw: seed, epochs and indices of the samples.
        config: the masking rule.
        special: the id of [MASK] and the vocabulary's size.
    """
    tenths = below(fold(draw.keys(Purpose.MASK_ACTION, config)[rows], positions), 10)
    tokens = below(fold(draw.keys(Purpose.RANDOM_TOKEN, config)[rows], positions), special.vocab_size)
    return np.select([tenths < 8, tenths == 8], [special.mask_id, tokens.astype(np.int64)], labels)
