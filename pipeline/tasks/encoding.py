"""Examples as tokens: texts are encoded and cut to the longest sequence, and examples become batches.

The result is that of the model's tokenizer in `transformers` with `truncation=True`: a single text is cut at its end,
and of a pair the longer text is cut first.

Shapes: N sequences of a split, B sequences of a batch, T tokens of the batch; E examples, each of `Encoded.group`
sequences, which is 1 except for questions with several choices.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.data.batch import Batch
from pipeline.data.packing import Int64Array, lengths, pack
from pipeline.data.template import Template

Encoder = Callable[[list[str]], Sequence[Sequence[int]]]
"""Texts -> token ids without special tokens."""


class Pieces(NamedTuple):
    """The tokens of a text, without special tokens, and the characters that each of them stands for."""

    tokens: npt.NDArray[np.int32]
    """(n,) token ids."""
    starts: Int64Array
    """(n,) first character of each token."""
    ends: Int64Array
    """(n,) the character behind the last one of each token."""


PieceEncoder = Callable[[list[str]], list[Pieces]]
"""Texts -> their tokens."""


@dataclass(frozen=True)
class Sequences:
    """How a model reads text."""

    encode: Encoder
    """The model's tokenizer."""
    special: Mapping[str, int]
    """Id of the token of each role of the template."""
    template: Template
    """The special tokens around segments."""
    max_length: int
    """Number of tokens, special ones included, to which longer examples are cut."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """Examples as tokens, without special tokens."""

    tokens: Sequence[npt.NDArray[np.int32]]
    """N arrays: the tokens of the first text followed by those of the second."""
    boundaries: Int64Array
    """(N,) start of the second text in each; its length if there is none."""
    lengths: Int64Array
    """(N,) tokens of each, special ones included."""
    group: int = 1
    """Number of consecutive sequences that are one example."""

    def __len__(self) -> int:
        """The number of examples E."""
        return len(self.tokens) // self.group

    @property
    def sizes(self) -> Int64Array:
        """(E,) tokens of each example, special ones included."""
        return self.lengths.reshape(-1, self.group).sum(1)

    def sequences_of(self, examples: Int64Array) -> Int64Array:
        """Return the sequences of some examples, in their order."""
        return (examples[:, None] * self.group + np.arange(self.group)).reshape(-1)


def encode(texts: Sequence[tuple[str, ...]], sequences: Sequences) -> Encoded:
    """Encode examples of one or two texts.

    A second text without a token is left out, together with the special tokens of a pair.

    Args:
        texts: N texts or pairs of texts.
        sequences: how the model reads text.
    """
    parts = [sequences.encode(list(column)) for column in zip(*texts, strict=True)]
    tokens, boundaries = [], np.empty(len(texts), np.int64)
    for number in range(len(texts)):
        cut = truncated([part[number] for part in parts], sequences)
        boundaries[number] = len(cut[0])
        tokens.append(np.fromiter((token for part in cut for token in part), np.int32))
    return encoded_of(tokens, boundaries, sequences.template)


def encoded_of(
    tokens: Sequence[npt.NDArray[np.int32]], boundaries: Int64Array, template: Template, group: int = 1
) -> Encoded:
    """Return examples of the tokens of N sequences, whose lengths follow from the template.

    Args:
        tokens: N arrays: the tokens of the first text followed by those of the second.
        boundaries: (N,) start of the second text in each; its length if there is none.
        template: the special tokens around segments.
        group: number of consecutive sequences that are one example.
    """
    sizes = np.array([len(values) for values in tokens], np.int64)
    return Encoded(tokens, boundaries, lengths(template, sizes, boundaries), group)


def truncated(parts: Sequence[Sequence[int]], sequences: Sequences) -> list[Sequence[int]]:
    """Return one or two texts (token ids) cut so that they fit with their special tokens.

    The shorter text of a pair keeps up to half of the room, the longer one takes what is left, and of two texts of
    equal length the second one is the longer one; so does the library tokenizers ("longest_first").
    """
    template = sequences.template
    if len(parts) == 1 or not len(parts[1]):
        return [parts[0][: max(0, sequences.max_length - len(template.single) + 1)]]
    room = max(0, sequences.max_length - len(template.pair) + 2)
    first, second = len(parts[0]), len(parts[1])
    if first + second > room:
        short, long = min(first, second), max(first, second)
        short, long = (short, room - short) if short <= room // 2 else (room // 2, room - room // 2)
        first, second = (long, short) if first > second else (short, long)
    return [parts[0][:first], parts[1][:second]]


def batch_of(
    encoded: Encoded,
    examples: Int64Array,
    targets: Mapping[str, Tensor],
    sequences: Sequences,
    totals: Mapping[str, int] | None = None,
) -> Batch:
    """Return a batch of some examples without padding, in which the sequences of an example follow each other.

    Args:
        encoded: the examples.
        examples: numbers of the examples of the batch, in their order.
        targets: targets of the batch.
        sequences: how the model reads text.
        totals: counts by which the loss is divided; None: those of this batch.
    """
    rows = encoded.sequences_of(examples)  # (B,)
    packed = pack(
        sequences.template, [encoded.tokens[row] for row in rows], encoded.boundaries[rows], sequences.special
    )
    sizes = np.diff(packed.cu_seqlens)
    counts = {"samples": len(examples), "tokens": int(sizes.sum())}
    return Batch(
        input_ids=torch.from_numpy(packed.input_ids),
        segment_ids=torch.from_numpy(packed.segment_ids) if sequences.template.segments else None,
        position_ids=torch.from_numpy(packed.position_ids),
        cu_seqlens=torch.from_numpy(packed.cu_seqlens.astype(np.int32)),
        max_seqlen=int(sizes.max()),
        targets=targets,
        counts=counts,
        totals=counts if totals is None else totals,
        sample_ids=rows,
        epochs=np.zeros_like(rows),
        group=0,
    )


def divide(rows: Int64Array, sizes: Int64Array, max_tokens: int) -> list[Int64Array]:
    """Divide examples, in their order, into parts of at most `max_tokens` tokens, or of one that alone has more.

    Args:
        rows: (E,) examples.
        sizes: (E,) tokens of each.
        max_tokens: bound on the tokens of a part.
    """
    starts, filled = [0], 0
    for number, size in enumerate(sizes.tolist()):
        if filled + size > max_tokens and number > starts[-1]:
            starts.append(number)
            filled = 0
        filled += size
    return np.split(rows, starts[1:])


def tokens_of(tokenizer: Any) -> Encoder:
    """Return the function that encodes texts with a tokenizer of `transformers`."""

    def encode_texts(texts: list[str]) -> Sequence[Sequence[int]]:
        ids: Sequence[Sequence[int]] = tokenizer(
            texts, add_special_tokens=False, return_attention_mask=False, return_token_type_ids=False, verbose=False
        )["input_ids"]
        return ids

    return encode_texts


def pieces_of(tokenizer: Any) -> PieceEncoder:
    """Return the function that encodes texts with a tokenizer of `transformers`, and gives the place of each token.

    Raises:
        ValueError: the tokenizer does not know the places of its tokens.
    """
    if not tokenizer.is_fast:
        raise ValueError(f"{type(tokenizer).__name__} gives no offsets; save the tokenizer with its tokenizer.json")

    def encode_texts(texts: list[str]) -> list[Pieces]:
        found = tokenizer(
            texts,
            add_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            return_offsets_mapping=True,
            verbose=False,
        )
        offsets = [np.array(each, np.int64).reshape(-1, 2) for each in found["offset_mapping"]]
        return [
            Pieces(np.array(tokens, np.int32), places[:, 0], places[:, 1])
            for tokens, places in zip(found["input_ids"], offsets, strict=True)
        ]

    return encode_texts
