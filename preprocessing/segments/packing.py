"""Samples of a single segment of full length. Every token of a partition is in one sample of a pass; nothing is random.

A sentence or document that is longer than a sample is cut. If a sample crosses from one document into the next, the
position is not stored: fairseq inserts </s> there, but shards contain no special tokens, and one `boundary` cannot
store several positions. Samples of `doc_sentences` never cross, which the RoBERTa paper (table 2) found slightly
better. Unlike fairseq, no </s> is inserted between sentences, so that a sample has slightly more text.
"""

from random import Random

import numpy as np
import numpy.typing as npt

from preprocessing.schema import SINGLE_SPECIAL_TOKENS
from preprocessing.segments.layout import Layout, Samples

Positions = npt.NDArray[np.int64]
"""(P + 1,) start of each of P consecutive pieces in the tokens; the last is the number of tokens."""


def full_sentences(layout: Layout, max_seq_length: int, short_seq_prob: float, random: Random) -> Samples:
    """FULL-SENTENCES: sentences until the next one does not fit, across documents.

    All strategies have the same arguments. Those here use `layout` and `max_seq_length` (with two special tokens), and
    ignore `short_seq_prob` and `random`.

    Source: https://arxiv.org/abs/1907.11692, section 4.2; `complete` in token_block_utils_fast.pyx of fairseq.
    """
    limit = max_seq_length - SINGLE_SPECIAL_TOKENS
    return _samples(layout, pack(cut(_sentences(layout), limit), limit))


def doc_sentences(layout: Layout, max_seq_length: int, short_seq_prob: float, random: Random) -> Samples:
    """DOC-SENTENCES: sentences until the next one does not fit or the document ends.

    The released code of SpanBERT makes its single segments in the same way, but drops sentences that are too long.
    Source: as `full_sentences`, `complete_doc`; no_nsp_span_bert_dataset.py of facebookresearch/SpanBERT.
    """
    limit = max_seq_length - SINGLE_SPECIAL_TOKENS
    pieces = cut(_sentences(layout), limit)
    documents = np.searchsorted(pieces, _documents(layout))  # (D' + 1,) the piece that begins each
    return _samples(layout, pack(pieces, limit, documents))


def blocks(layout: Layout, max_seq_length: int, short_seq_prob: float, random: Random) -> Samples:
    """Blocks of the full length within each document, regardless of sentences; the last block has the rest.

    Source: https://arxiv.org/abs/1907.10529, section 3.3: one contiguous segment of up to 512 tokens.
    """
    return _samples(layout, cut(_documents(layout), max_seq_length - SINGLE_SPECIAL_TOKENS))


def chunks(layout: Layout, max_seq_length: int, short_seq_prob: float, random: Random) -> Samples:
    """Blocks of the full length of the concatenated documents of the partition; only the last block is shorter.

    Source: experiments/language_model/prepare_data.py of microsoft/DeBERTa: 510 tokens for a length of 512.
    """
    whole = np.unique(_documents(layout)[[0, -1]])
    return _samples(layout, cut(whole, max_seq_length - SINGLE_SPECIAL_TOKENS))


def cut(starts: Positions, limit: int) -> Positions:
    """Cuts each piece into pieces of `limit` tokens, the last of which has the rest; no piece is empty."""
    counts = -(-np.diff(starts) // limit)  # (P,)
    numbers = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.append(np.repeat(starts[:-1], counts) + limit * numbers, starts[-1])


def pack(pieces: Positions, limit: int, ends: npt.NDArray[np.int64] | None = None) -> Positions:
    """Joins consecutive pieces while they hold at most `limit` tokens together.

    Args:
        pieces: none longer than `limit`.
        limit: largest number of tokens.
        ends: ascending indices of pieces, the last P, that no result crosses.
    """
    stops = np.searchsorted(pieces, pieces[:-1] + limit, side="right") - 1  # (P,) ends of results
    if ends is not None:
        stops = np.minimum(stops, ends[np.searchsorted(ends, np.arange(len(stops)), side="right")])
    following, chosen = stops.tolist(), [0]
    while chosen[-1] < len(following):
        chosen.append(following[chosen[-1]])
    return pieces[chosen]


def _sentences(layout: Layout) -> Positions:
    return np.asarray(layout.sentences, np.int64)


def _documents(layout: Layout) -> Positions:
    """The starts of the documents that have tokens, and the number of tokens."""
    return np.unique(_sentences(layout)[np.asarray(layout.documents)])


def _samples(layout: Layout, starts: Positions) -> Samples:
    """The single segments between these positions."""
    begin, end = starts[:-1], starts[1:]
    documents = np.searchsorted(_sentences(layout)[np.asarray(layout.documents)], begin, side="right") - 1
    return np.stack([begin, end, end, end, np.zeros_like(begin), documents], axis=1)
