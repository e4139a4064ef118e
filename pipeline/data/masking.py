"""Dynamic masking: the choice of tokens that the model must restore, and their replacement.

The rule is BERT's (google-research/bert, create_pretraining_data.py, create_masked_lm_predictions): a number of
positions that follows from the sample's length, drawn without replacement from its text tokens; each drawn token
becomes [MASK] with probability 0.8, a token drawn from the whole vocabulary with 0.1, and stays with 0.1. At fractions
above `mask_only_above` each becomes [MASK]. Unlike there, masks are drawn anew in each epoch, as a function of (seed,
epoch, sample, position), so that no masked copies are stored and a sample's masks do not depend on its batch, rank or
worker.

Whole-word masking takes words in random order and skips a word that would exceed the number, as BERT does; BERT may
then mask fewer tokens than the number, whereas here the first pieces of the first skipped word are added. The counts
must be exact, because the loss of a global batch is divided by a number that every rank computes from the lengths
alone.

Shapes: B samples, T tokens of all of them with special tokens, L tokens of the longest, M masked tokens.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.data.config import BoundedMasking, Corruption, MaskingConfig
from pipeline.data.hashing import Purpose, UInt64Array, below, fold, purpose_key
from pipeline.data.packing import BoolArray, Int64Array, Packed
from pipeline.data.special_tokens import SpecialTokens
from preprocessing.schema import SINGLE_SPECIAL_TOKENS

POSITION_BITS = np.uint64(0xFFFF)  # a sample has fewer than 2^16 tokens: `boundary` on disk is uint16


class Draw(NamedTuple):
    """Seed, epochs and indices of samples, which determine their random numbers."""

    seed: int
    """The run's seed."""
    epochs: Int64Array
    """(B,) pass over the dataset each sample belongs to."""
    indices: Int64Array
    """(B,) row of each sample in the dataset."""

    def keys(self, purpose: Purpose, duplicates: int = 0) -> UInt64Array:
        """Returns (B,) one key per sample for a purpose; epochs e and e + `duplicates` have the same keys."""
        epochs = self.epochs % duplicates if duplicates else self.epochs
        return fold(fold(purpose_key(self.seed, purpose), epochs), self.indices)


class Corrupted(NamedTuple):
    """Changed samples, and the tokens that the model must restore."""

    input_ids: Int64Array
    """(T,) tokens with the masks applied."""
    targets: Mapping[str, Int64Array]
    """"positions" (M,): ascending indices into T of the masked tokens; "labels" (M,): the original tokens there."""


def num_predictions(lengths: npt.NDArray[np.integer], config: BoundedMasking) -> Int64Array:
    """Returns the masked tokens of samples: min(max_predictions, max(1, round(length * probability))), halves to even.

    A sample of one segment has length - 2 text tokens, which bound the number too.

    Args:
        lengths: (B,) tokens of each sample, special tokens counted.
        config: the masking rule.

    Returns:
        (B,) counts, at least 1. A sample of two segments, neither empty, always has at least that many text tokens.
    """
    most = np.maximum(1, np.minimum(lengths - SINGLE_SPECIAL_TOKENS, config.max_predictions or np.inf))
    return np.clip(np.rint(lengths * config.probability), 1, most).astype(np.int64)


def typical_count(corruption: Corruption, length: int, progress: float, seed: int) -> int:
    """Returns the tokens to restore of one sample, for estimates of FLOPs and memory.

    Args:
        corruption: the recipe's section.
        length: tokens of the sample, special tokens included.
        progress: share of the run.
        seed: the run's seed.
    """
    first = np.zeros(1, np.int64)
    return int(corruption.at(progress).counts(np.array([length]), Draw(seed, first, first))[0])


def mask_tokens(
    packed: Packed, counts: Int64Array, draw: Draw, config: MaskingConfig, special: SpecialTokens
) -> Corrupted:
    """Masks exactly `counts` text tokens of each sample.

    Args:
        packed: the samples.
        counts: (B,) from `num_predictions`.
        draw: seed, epochs and indices of the samples.
        config: the masking rule.
        special: the id of the mask token, the vocabulary's size and its word continuations.
    """
    keys = draw.keys(Purpose.MASKED_POSITION, config.duplicates)
    if config.whole_word:
        sizes = word_sizes(packed.input_ids, packed.is_text, special.is_continuation)
        positions = choose_words(sizes, packed.cu_seqlens, counts, keys)
    else:
        positions = choose_tokens(packed.is_text, packed.cu_seqlens, counts, keys)
    words = np.arange(special.vocab_size)
    return replace_tokens(packed, positions, counts, draw, config.duplicates, special, words, config.mask_only)


def choose_tokens(
    candidates: BoolArray, cu_seqlens: npt.NDArray[np.integer], counts: Int64Array, keys: UInt64Array
) -> Int64Array:
    """Draws tokens of each sample without replacement.

    Args:
        candidates: (T,) which tokens may be drawn.
        cu_seqlens: (B + 1,) where each sample starts; the last entry is T.
        counts: (B,) tokens to draw from each sample.
        keys: (B,) key of each sample's draws.

    Returns:
        (M,) ascending indices into T.
    """
    starts, lengths = cu_seqlens[:-1], np.diff(cu_seqlens)
    assert (counts <= np.add.reduceat(candidates, starts, dtype=np.int64)).all(), "a sample has too few candidates"
    order, _ = shuffle_units(candidates.astype(np.int64), lengths, keys)
    rows, ranks = np.nonzero(np.arange(counts.max(initial=0)) < counts[:, None])
    return np.sort(starts[rows] + order[rows, ranks])


def choose_words(
    sizes: Int64Array, cu_seqlens: npt.NDArray[np.integer], counts: Int64Array, keys: UInt64Array
) -> Int64Array:
    """Draws words of each sample without replacement until they have `counts` (B,) tokens; see the top of the file.

    Args:
        sizes: (T,) tokens of the word that starts at each position, 0 where none does.
        cu_seqlens, counts, keys: as in `choose_tokens`.

    Returns:
        (M,) ascending indices into T.
    """
    starts, lengths = cu_seqlens[:-1], np.diff(cu_seqlens)
    assert (counts <= np.add.reduceat(sizes, starts)).all(), "a sample has fewer text tokens than must be masked"
    order, sizes = shuffle_units(sizes, lengths, keys)
    taken = take_words(sizes, counts)
    rows, ranks = np.nonzero(taken)
    return np.sort(ranges(starts[rows] + order[rows, ranks], taken[rows, ranks]))


def replace_tokens(
    packed: Packed,
    positions: Int64Array,
    counts: Int64Array,
    draw: Draw,
    duplicates: int,
    special: SpecialTokens,
    random_tokens: Int64Array,
    mask_only: bool = False,
    decided: Int64Array | None = None,
) -> Corrupted:
    """Replaces tokens as BERT does: 80 % by the mask token and 10 % by a random token; 10 % stay.

    Args:
        packed: the samples.
        positions: (M,) ascending indices into T.
        counts: (B,) number of them in each sample.
        draw: seed, epochs and indices of the samples.
        duplicates: number of fixed masks; 0 for new ones in every epoch.
        special: the id of the mask token.
        random_tokens: ids that a random token is drawn from, all equally likely.
        mask_only: replace all of them by the mask token instead.
        decided: (M,) the index into T, in the same sample, whose random number decides which of the three happens to
            each token; None: its own. Tokens with the same index are replaced alike.
    """
    replaced, labels = packed.input_ids.copy(), packed.input_ids[positions]
    if mask_only:
        replaced[positions] = special.ids["mask"]
        return Corrupted(replaced, {"positions": positions, "labels": labels})
    rows = np.repeat(np.arange(len(counts)), counts)  # (M,) sample of each masked position
    within = positions - packed.cu_seqlens[rows]
    deciding = within if decided is None else decided - packed.cu_seqlens[rows]
    tenths = below(fold(draw.keys(Purpose.MASK_ACTION, duplicates)[rows], deciding), 10)
    tokens = below(fold(draw.keys(Purpose.RANDOM_TOKEN, duplicates)[rows], within), len(random_tokens))
    replaced[positions] = np.select(
        [tenths < 8, tenths == 8], [special.ids["mask"], random_tokens[tokens.astype(np.int64)]], labels
    )
    return Corrupted(replaced, {"positions": positions, "labels": labels})


def hide_tokens(
    packed: Packed,
    positions: Int64Array,
    counts: Int64Array,
    draw: Draw,
    duplicates: int,
    special: SpecialTokens,
    share: float,
) -> Corrupted:
    """Replaces tokens by the mask token with a probability; the others stay.

    Args:
        packed, positions, counts, draw, duplicates, special: as in `replace_tokens`.
        share: probability in [0, 1].
    """
    replaced, labels = packed.input_ids.copy(), packed.input_ids[positions]
    keys = position_keys(packed, positions, counts, draw.keys(Purpose.MASK_ACTION, duplicates))
    replaced[positions[uniform(keys) < share]] = special.ids["mask"]
    return Corrupted(replaced, {"positions": positions, "labels": labels})


def position_keys(packed: Packed, positions: Int64Array, counts: Int64Array, keys: UInt64Array) -> UInt64Array:
    """Returns (M,) one key per masked position.

    Args:
        packed: the samples.
        positions: (M,) ascending indices into T.
        counts: (B,) number of them in each sample.
        keys: (B,) key of each sample's draws.
    """
    rows = np.repeat(np.arange(len(counts)), counts)  # (M,) sample of each masked position
    return fold(keys[rows], positions - packed.cu_seqlens[rows])


def uniform(keys: UInt64Array) -> npt.NDArray[np.float32]:
    """Returns numbers in [0, 1), equally distributed multiples of 2^-24, from uniform 64-bit numbers."""
    return ((keys >> np.uint64(40)) * 2.0**-24).astype(np.float32)


def ranges(starts: npt.NDArray[np.integer], lengths: npt.NDArray[np.integer]) -> Int64Array:
    """Returns the concatenation of start, start + 1, ..., start + length - 1 over all pairs of start and length."""
    ends = np.cumsum(lengths, dtype=np.int64)
    total = int(ends[-1])
    return np.arange(total) + np.repeat(starts - (ends - lengths), lengths)


def word_sizes(input_ids: Int64Array, is_text: BoolArray, is_continuation: BoolArray) -> Int64Array:
    """Returns (T,) the number of pieces of the word that starts at each position, 0 where none does.

    A continuation after a special token starts a word, because truncation may have removed the beginning of that word.
    """
    continues = is_continuation[input_ids] & is_text
    continues[1:] &= is_text[:-1]
    edges = np.flatnonzero(~continues)
    sizes = np.zeros(len(input_ids), np.int64)
    sizes[edges] = np.diff(edges, append=len(input_ids))
    return sizes * is_text


def shuffle_units(
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
    # The low bits of each number are its position: sorting has no ties and gives the same order on every machine.
    tickets = fold(keys[:, None], columns) & ~POSITION_BITS | columns  # (B, L)
    tickets[padded == 0] |= ~POSITION_BITS
    tickets.sort(axis=1)
    order = (tickets & POSITION_BITS).astype(np.int64)
    return order, np.take_along_axis(padded, order, axis=1)


def take_words(sizes: Int64Array, counts: Int64Array) -> Int64Array:
    """Returns the number of tokens taken from each word; they add up to exactly `counts`.

    Words are visited in order; one larger than the remaining room is skipped. If room remains at the end, the first
    skipped word is larger than it, because it was larger than the room at its turn; its first pieces fill the room.

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
