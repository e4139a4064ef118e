"""Samples as people read them: segments, and in them the text of each token."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from tokenizers import Tokenizer

from preprocessing.segments.registry import Strategy
from preprocessing.shards import SampleDataset

_TOKENS_SHOWN = 512
"""Most tokens of a segment that are shown; finding the text of each takes quadratic time."""


@dataclass(frozen=True)
class Piece:
    """One token in its place."""

    text: str
    """Its part of the decoded segment, the blank before it included; empty where a character needs several tokens."""
    token: str
    """As the vocabulary has it."""
    id: int
    """Its number in the vocabulary."""


@dataclass(frozen=True)
class Segment:
    """A or B."""

    pieces: list[Piece]
    """Its first tokens."""
    omitted: int
    """Number of tokens after these."""

    @property
    def text(self) -> str:
        """What it says, and how many tokens more there are."""
        return "".join(piece.text for piece in self.pieces) + f" ... {self.omitted:,} more tokens" * (self.omitted > 0)


@dataclass(frozen=True)
class Example:
    """One sample."""

    index: int
    """Its number in the split."""
    document: int
    """The document that it begins in."""
    label: str
    """What its label means; empty where samples have none."""
    a: Segment
    """Segment A."""
    b: Segment | None
    """Segment B; None for a single segment."""


def decode(tokenizer: Tokenizer, ids: list[int]) -> Segment:
    """The segment with these tokens: its pieces put together are what the tokenizer decodes them to.

    A piece is what its token adds to the text that does not change any more, whatever the kind of tokenizer.
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
    """Number of characters that both begin with."""
    if text.startswith(other):
        return len(other)
    return next(place for place, character in enumerate(other) if text[place : place + 1] != character)


def example(data: SampleDataset, row: int, index: int, tokenizer: Tokenizer, kind: Strategy) -> Example:
    """Row `row` of `data`, which is sample `index` of its split."""
    tokens, boundary = data.tokens(np.array([row]))[0].tolist(), int(data.boundaries[row])
    return Example(
        index=index,
        document=int(data.documents[row]),
        label=kind.labels[data.labels[row]] if kind.labels else "",
        a=decode(tokenizer, tokens[:boundary]),
        b=decode(tokenizer, tokens[boundary:]) if boundary < len(tokens) else None,
    )
