"""Masking of runs of consecutive words, as in ALBERT and SpanBERT.

The rule is that of google-research/albert, create_pretraining_data.py, create_masked_lm_predictions: the words of a
sample are visited in random order; at each a number n is drawn, in ALBERT with a probability proportional to 1/n, and n
words from there on are masked. Where they exceed the number of tokens that are still to be masked, n is lowered until
they fit; where one of them is masked already, the word is passed over. Two things differ:

* A run ends at a special token. There, a run could take the last words of A and the first ones of B.
* Counts are exact, because the loss of a global batch is divided by a number that every rank computes from the lengths
  alone. What remains after the visit is taken from the words that are left, in the same order, as whole-word masking
  does (`pipeline.data.masking`).

SpanBERT draws n from a geometric distribution up to a largest number, and replaces all tokens of a span alike. A span
is a maximal sequence of masked tokens, so that runs that touch are one span. Its reference implementation begins a run
at a random token, and may let it reach into a masked one; here the rule is the same for both families.

Sources: Lan et al. 2019, ALBERT (https://arxiv.org/abs/1909.11942), section 4.1; Joshi et al. 2019, SpanBERT
(https://arxiv.org/abs/1907.10529), section 3.1.

Shapes: B samples, T tokens of all of them with special tokens, L tokens of the longest, M masked tokens.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.data.config import NgramMasking, SpanMasking
from pipeline.data.hashing import Purpose, UInt64Array, fold
from pipeline.data.masking import Corrupted, Draw, ranges, replace_tokens, shuffle_units, take_words, word_sizes
from pipeline.data.packing import Int64Array, Packed
from pipeline.data.special_tokens import SpecialTokens


def mask_ngrams(
    packed: Packed, counts: Int64Array, draw: Draw, config: NgramMasking, special: SpecialTokens
) -> Corrupted:
    """Masks exactly `counts` text tokens of each sample.

    Args:
        packed: the samples.
        counts: (B,) from `pipeline.data.masking.num_predictions`.
        draw: seed, epochs and indices of the samples.
        config: the masking rule.
        special: the id of the mask token, the vocabulary's size and its word continuations.
    """
    weights = 1 / np.arange(1, config.max_ngram + 1)
    positions = drawn_runs(packed, counts, draw, config.duplicates, weights, special)
    words = np.arange(special.vocab_size)
    return replace_tokens(packed, positions, counts, draw, config.duplicates, special, words, config.mask_only)


def mask_spans(
    packed: Packed, counts: Int64Array, draw: Draw, config: SpanMasking, special: SpecialTokens
) -> Corrupted:
    """Masks exactly `counts` text tokens of each sample, in spans whose tokens are replaced alike.

    Args:
        packed, counts, draw, special: as in `mask_ngrams`.
        config: the masking rule.
    """
    weights = (1 - config.geometric_p) ** np.arange(config.max_words)
    positions = drawn_runs(packed, counts, draw, config.duplicates, weights, special)
    words = np.arange(special.vocab_size)
    decided = span_starts(positions)
    return replace_tokens(packed, positions, counts, draw, config.duplicates, special, words, config.mask_only, decided)


def span_starts(positions: Int64Array) -> Int64Array:
    """Returns (M,) the first position of the span of each masked position.

    Args:
        positions: (M,) ascending indices into T. Special tokens, which are never masked, separate the samples.
    """
    begins = np.diff(positions, prepend=-2) > 1
    return np.maximum.accumulate(np.where(begins, positions, 0))


def drawn_runs(
    packed: Packed,
    counts: Int64Array,
    draw: Draw,
    duplicates: int,
    weights: npt.NDArray[np.floating[Any]],
    special: SpecialTokens,
) -> Int64Array:
    """Returns (M,) ascending indices into T of the tokens of drawn runs, exactly `counts` (B,) in each sample.

    Args:
        packed, counts, draw, special: as in `mask_ngrams`.
        duplicates: number of fixed masks; 0 for new ones in every epoch.
        weights: (N,) numbers to which the probabilities of runs of 1 .. N words are proportional.
    """
    sizes = word_sizes(packed.input_ids, packed.is_text, special.is_continuation)
    keys = draw.keys(Purpose.MASKED_POSITION, duplicates)
    lengths = drawn_lengths(packed, draw.keys(Purpose.NGRAM_LENGTH, duplicates), weights)
    return choose_ngrams(sizes, lengths, packed.cu_seqlens, counts, keys)


def drawn_lengths(packed: Packed, keys: UInt64Array, weights: npt.NDArray[np.floating[Any]]) -> Int64Array:
    """Returns (T,) the number of words of the run that begins at each position.

    Args:
        packed: the samples.
        keys: (B,) key of each sample's draws.
        weights: (N,) numbers to which the probabilities of 1 .. N words are proportional.
    """
    lengths = np.diff(packed.cu_seqlens)
    within = np.arange(len(packed.input_ids)) - np.repeat(packed.cu_seqlens[:-1], lengths)  # (T,)
    uniform = (fold(np.repeat(keys, lengths), within) >> np.uint64(11)) * 2.0**-53  # (T,) in [0, 1)
    shares = np.cumsum(weights)
    return np.searchsorted(shares[:-1] / shares[-1], uniform, side="right") + 1


def choose_ngrams(
    sizes: Int64Array, lengths: Int64Array, cu_seqlens: npt.NDArray[np.integer], counts: Int64Array, keys: UInt64Array
) -> Int64Array:
    """Draws runs of words of each sample until they have `counts` (B,) tokens; see the top of the file.

    Args:
        sizes: (T,) tokens of the word that starts at each position, 0 where none does.
        lengths: (T,) words of the run that starts at each position.
        cu_seqlens: (B + 1,) where each sample starts; the last entry is T.
        counts: (B,) tokens to draw from each sample.
        keys: (B,) key of each sample's draws.

    Returns:
        (M,) ascending indices into T.
    """
    starts, totals = cu_seqlens[:-1], np.diff(cu_seqlens)
    assert (counts <= np.add.reduceat(sizes, starts)).all(), "a sample has fewer text tokens than must be masked"
    order, by_visit = shuffle_units(sizes, totals, keys)  # (B, L) each
    stops = run_stops(sizes, int(lengths.max()))  # (N, T)
    free = np.ones(len(sizes), np.bool_)  # (T,) which tokens are not masked yet
    room = counts.copy()  # (B,) tokens still to be masked
    for visited, size in zip(order.T, by_visit.T, strict=True):
        at = np.where(size > 0, starts + visited, starts)  # (B,) where a run may begin
        stop = longest_fitting(stops[:, at], at, np.minimum(lengths[at], np.where(size > 0, len(stops), 0)), room)
        chosen = np.flatnonzero(stop > at)
        taken = ranges(at[chosen], (stop - at)[chosen]) if len(chosen) else chosen
        whole = np.logical_and.reduceat(free[taken], _offsets((stop - at)[chosen])) if len(chosen) else chosen > 0
        kept = chosen[whole]
        if len(kept):
            free[ranges(at[kept], (stop - at)[kept])] = False
            room[kept] -= (stop - at)[kept]
        if not room.any():
            break
    rest = np.where(free[np.minimum(starts[:, None] + order, len(free) - 1)], by_visit, 0)  # (B, L)
    filled = take_words(rest, room)
    rows, ranks = np.nonzero(filled)
    if len(rows):
        free[ranges(starts[rows] + order[rows, ranks], filled[rows, ranks])] = False
    return np.flatnonzero(~free)


def run_stops(sizes: Int64Array, max_ngram: int) -> Int64Array:
    """Returns (N, T) where a run of 1 .. N words that starts at each position stops; a run ends at a special token.

    Args:
        sizes: (T,) tokens of the word that starts at each position, 0 where none does.
        max_ngram: N.
    """
    stops = [np.arange(len(sizes)) + sizes]  # behind one word
    following = np.append(sizes, 0)
    for _ in range(max_ngram - 1):
        stops.append(stops[-1] + following[stops[-1]])
    return np.stack(stops)


def longest_fitting(stops: Int64Array, starts: Int64Array, lengths: Int64Array, room: Int64Array) -> Int64Array:
    """Returns (B,) where runs stop that are as long as their room allows; `starts` where not even one word fits.

    Args:
        stops: (N, B) where runs of 1 .. N words stop.
        starts: (B,) where they start.
        lengths: (B,) words of each run, 0 for none.
        room: (B,) largest number of tokens of each run.
    """
    words = np.arange(1, len(stops) + 1)[:, None]  # (N, 1)
    fitting = (words <= lengths) & (stops - starts <= room)  # (N, B)
    return np.where(fitting, stops, starts).max(axis=0)


def _offsets(lengths: Int64Array) -> Int64Array:
    """Returns where each of several consecutive ranges begins."""
    return np.cumsum(lengths) - lengths
