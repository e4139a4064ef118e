"""Decodes samples for display: segments, with the text of each token."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from tokenizers import Tokenizer

from preprocessing.segments.registry import Strategy
from preprocessing.shards import SampleDataset

_TOKENS_SHOWN = 512
"""Most tokens of a segment that are shown; decoding each of them takes quadratic time."""


@dataclass(frozen=True)
class Piece:
    """A token of a segment."""

    text: str
    """Its part of the decoded segment, including a preceding space; empty if it is an incomplete part of a
    character."""
    token: str
    """The token as in the vocabulary."""
    id: int
    """Its id in the vocabulary."""


@dataclass(frozen=True)
class Segment:
    """Segment A or B of a sample."""

    pieces: list[Piece]
    """The first tokens of the segment."""
    omitted: int
    """Number of further tokens."""

    @property
    def text(self) -> str:
        """The decoded text, followed by the number of omitted tokens."""
        return "".join(piece.text for piece in self.pieces) + f" ... {self.omitted:,} more tokens" * (self.omitted > 0)


@dataclass(frozen=True)
class Example:
    """A decoded sample."""

    index: int
    """Index of the sample in the split."""
    document: int
    """Number of the document in which it begins."""
    label: str
    """Meaning of its label; empty if samples have no labels."""
    a: Segment
    """Segment A."""
    b: Segment | None
    """Segment B; None for a single segment."""


def decode(tokenizer: Tokenizer, ids: list[int]) -> Segment:
    """Decodes a segment to pieces, which concatenated are the text that the tokenizer decodes.

    The piece of a token is the text that it adds to the part of the result that later tokens do not change, for any
    kind of tokenizer.
    """
    shown = ids[:_TOKENS_SHOWN]
    text = tokenizer.decode(shown, skip_special_tokens=False)
    ends = [0]
    for count in range(1, len(shown)):
        ends.append(max(ends[-1], _common(text, tokenizer.decode(shown[:count], skip_special_tokens=False))))
    ends += [len(text)] * bool(shown)
    pieces = [
        Piece(text[start:end], tokenizer.id_to_token(number) or "", number)
        for number, (start, end) in zip(shown, pairwise(ends), strict=True)
    ]
    return Segment(pieces, len(ids) - len(shown))


def _common(text: str, other: str) -> int:
    """Length of the common prefix."""
    if text.startswith(other):
        return len(other)
    return next(place for place, character in enumerate(other) if text[place : place + 1] != character)


def example(data: SampleDataset, row: int, index: int, tokenizer: Tokenizer, kind: Strategy) -> Example:
    """Decodes row `row` of `data`, which is sample `index` of its split."""
    tokens, boundary = data.tokens(np.array([row]))[0].tolist(), int(data.boundaries[row])
    return Example(
        index=index,
        document=int(data.documents[row]),
        label=kind.labels[data.labels[row]] if kind.labels else "",
        a=decode(tokenizer, tokens[:boundary]),
        b=decode(tokenizer, tokens[boundary:]) if boundary < len(tokens) else None,
    )
