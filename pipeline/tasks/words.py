"""Words as tokens: the first token of each word, in sequences that hold long sentences in parts.

A word's label belongs to its first token (Devlin et al. 2018, section 5.3); its other tokens have none. A sentence that
is longer than a sequence is divided between words into parts that do not overlap: every word has one prediction.

Shapes: N sequences, R tokens of all of them with special tokens, P words that have a token.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.data.packing import Int64Array
from pipeline.data.template import FIRST, Template
from pipeline.tasks.encoding import Encoded, Pieces, encoded_of

Spans = Sequence[tuple[int, int]]
"""First character of each word of a text, and the one behind its last character."""


@dataclass(frozen=True, eq=False)
class WordSequences:
    """Sentences as sequences, and the place of each word in them."""

    encoded: Encoded
    """N sequences."""
    rows: Int64Array
    """(P,) place of the first token of each word among the R tokens."""
    sentences: Int64Array
    """(P,) sentence of each word."""
    words: Int64Array
    """(P,) number of each word in its sentence."""
    divided: int
    """Number of sentences in several sequences."""
    cut: int
    """Number of words that are longer than a sequence, whose last tokens are left out."""


def word_sequences(
    texts: Sequence[Pieces], spans: Sequence[Spans], template: Template, max_length: int
) -> WordSequences:
    """Return sentences as sequences of at most `max_length` tokens.

    Args:
        texts: tokens of each sentence.
        spans: the words of each sentence.
        template: the special tokens around segments.
        max_length: number of tokens of the longest sequence, special ones included.
    """
    room, before = max_length - len(template.single) + 1, template.single.index(FIRST)
    tokens, places, owners, words = [], [], [], []
    divided = cut = filled = 0
    for number, (pieces, sentence) in enumerate(zip(texts, spans, strict=True)):
        found, firsts = first_pieces(pieces, sentence)
        parts = divide_words(firsts, len(pieces.tokens), room)
        divided += len(parts) > 1
        cut += int((np.diff(firsts, append=len(pieces.tokens)) > room).sum())
        for start, end in parts:
            inside = (firsts >= start) & (firsts < end)
            places.append(filled + before + firsts[inside] - start)
            words.append(found[inside])
            owners.append(np.full(inside.sum(), number))
            tokens.append(pieces.tokens[start:end])
            filled += end - start + len(template.single) - 1
    encoded = encoded_of(tokens, np.array([len(part) for part in tokens], np.int64), template)
    rows, sentences, numbers = (np.concatenate(each) for each in (places, owners, words))
    return WordSequences(encoded, rows, sentences, numbers, divided, cut)


def first_pieces(pieces: Pieces, spans: Spans) -> tuple[Int64Array, Int64Array]:
    """Return the words that have a token, and the number of the first token of each.

    A token belongs to the word that has the token's last character: tokens may begin with the space before a word.
    """
    starts = np.array([start for start, _ in spans], np.int64)
    owners = np.searchsorted(starts, pieces.ends - 1, side="right") - 1
    words, firsts = np.unique(np.maximum(owners, 0), return_index=True)
    return words.astype(np.int64), firsts.astype(np.int64)


def divide_words(firsts: Int64Array, size: int, room: int) -> list[tuple[int, int]]:
    """Return the start and end of parts of at most `room` tokens that begin with words.

    Args:
        firsts: number of the first token of each word, ascending from 0.
        size: number of tokens.
        room: bound on the tokens of a part; of a word with more, the last tokens are left out.
    """
    starts = [0]
    for first, end in zip(firsts.tolist(), [*firsts[1:].tolist(), size], strict=False):
        if end - starts[-1] > room and first > starts[-1]:
            starts.append(first)
    return [(start, min(end, start + room)) for start, end in zip(starts, [*starts[1:], size], strict=True)]
