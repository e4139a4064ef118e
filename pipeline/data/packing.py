"""Packing of samples: laid end to end, with the special tokens of the family's template.

Shapes: B samples, T tokens of all of them with special tokens.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.data.template import FIRST, SECOND, Template
from preprocessing.schema import LABELLED, PAIR_SPECIAL_TOKENS, SINGLE_SPECIAL_TOKENS, Manifest

Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


class Packed(NamedTuple):
    """Samples with their special tokens, laid end to end."""

    input_ids: Int64Array
    """(T,) tokens."""
    segment_ids: Int64Array
    """(T,) 0 up to the end of the first segment's special tokens, 1 from the second segment on."""
    position_ids: Int64Array
    """(T,) position within the sample, counted from `Template.first_position`."""
    cu_seqlens: Int64Array
    """(B + 1,) where each sample starts; the last entry is T."""
    is_text: BoolArray
    """(T,) False at special tokens."""


def lengths(template: Template, tokens: npt.NDArray[np.integer], boundaries: npt.NDArray[np.integer]) -> Int64Array:
    """Returns the lengths of samples with their special tokens.

    Args:
        template: the special tokens around segments.
        tokens: (B,) text tokens of each sample.
        boundaries: (B,) start of the second segment; the number of tokens if there is none.

    Returns:
        (B,) lengths.
    """
    special = np.where(boundaries < tokens, len(template.pair) - 2, len(template.single) - 1)
    return np.asarray(tokens + special, np.int64)


def pack(
    template: Template,
    tokens: Sequence[npt.NDArray[np.integer]],
    boundaries: npt.NDArray[np.integer],
    special: Mapping[str, int],
) -> Packed:
    """Lays samples end to end, with special tokens around their segments.

    Args:
        template: the special tokens around segments.
        tokens: B arrays, the tokens of the first segment followed by those of the second.
        boundaries: (B,) start of the second segment in each; its length if there is none.
        special: id of the token of each role.
    """
    sizes, boundaries = np.array([len(sample) for sample in tokens]), boundaries.astype(np.int64)  # (B,)
    total = lengths(template, sizes, boundaries)  # (B,)
    cu_seqlens = np.concatenate([[0], np.cumsum(total)])  # (B + 1,)
    input_ids = np.empty(cu_seqlens[-1], np.int64)  # (T,)
    is_text = np.ones(len(input_ids), np.bool_)  # (T,)
    second = total.copy()  # (B,) where segment id 1 begins within the sample
    for entries, chosen in ((template.single, boundaries >= sizes), (template.pair, boundaries < sizes)):
        starts = cu_seqlens[:-1][chosen]
        ends = starts  # (b,) where the entries so far end
        for entry in entries:
            if entry == FIRST:
                ends = ends + boundaries[chosen]
            elif entry == SECOND:
                second[chosen] = ends - starts
                ends = ends + (sizes - boundaries)[chosen]
            else:
                input_ids[ends], is_text[ends] = special[entry], False
                ends = ends + 1
    input_ids[is_text] = np.concatenate(tokens)
    within = np.arange(len(input_ids)) - np.repeat(cu_seqlens[:-1], total)  # (T,)
    segment_ids = (within >= np.repeat(second, total)).astype(np.int64)
    return Packed(input_ids, segment_ids, within + template.first_position, cu_seqlens, is_text)


def longest_sequence(samples: Manifest, template: Template) -> int:
    """Returns an upper bound on the tokens of a sample, with the special tokens of the template.

    `max_seq_length` of the samples counts the fewest special tokens that any template adds.
    """
    is_pair = samples.segments in LABELLED
    ours = len(template.pair) - 2 if is_pair else len(template.single) - 1
    return samples.max_seq_length + ours - (PAIR_SPECIAL_TOKENS if is_pair else SINGLE_SPECIAL_TOKENS)
