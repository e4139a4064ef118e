"""Single segments that fill the sample: every token of a partition is in one sample of a pass, and none is random.

A sentence or document that is longer than a sample is cut. Where a sample crosses from one document into the next, the
place is not kept: fairseq puts </s> there, but shards hold no special tokens, and one `boundary` could not name several
places. For samples that never cross there is `doc_sentences`, which the RoBERTa paper (table 2) found a little better.
Nor does </s> stand between sentences, as it does in fairseq, so that a sample holds a little more text.
"""

from random import Random

import numpy as np
import numpy.typing as npt

from preprocessing.schema import SINGLE_SPECIAL_TOKENS
from preprocessing.segments.layout import Layout, Samples

Positions = npt.NDArray[np.int64]
"""(P + 1,) where each of P consecutive pieces starts in the tokens; the last is the number of tokens."""


def full_sentences(layout: Layout, max_seq_length: int, short_seq_prob: float, random: Random) -> Samples:
    """Sentences until the next does not fit, across documents: FULL-SENTENCES.

    The arguments of all functions here are those of every strategy: the partition, tokens of a sample with its two
    special tokens, and two that are not used, as nothing is random and no sample is short by chance.

    Source: https://arxiv.org/abs/1907.11692, section 4.2; `complete` in token_block_utils_fast.pyx of fairseq.
    """
    limit = max_seq_length - SINGLE_SPECIAL_TOKENS
    return _samples(layout, pack(cut(_sentences(layout), limit), limit))


def doc_sentences(layout: Layout, max_seq_length: int, short_seq_prob: float, random: Random) -> Samples:
    """Sentences until the next does not fit or the document ends: DOC-SENTENCES.

    The released code of SpanBERT makes its single segments in this way too, but drops sentences that are too long.
    Source: as `full_sentences`, `complete_doc`; no_nsp_span_bert_dataset.py of facebookresearch/SpanBERT.
    """
    limit = max_seq_length - SINGLE_SPECIAL_TOKENS
    pieces = cut(_sentences(layout), limit)
    documents = np.searchsorted(pieces, _documents(layout))  # (D' + 1,) the piece that begins each
    return _samples(layout, pack(pieces, limit, documents))


def blocks(layout: Layout, max_seq_length: int, short_seq_prob: float, random: Random) -> Samples:
    """Blocks of the full length within each document, whatever sentences they cut; the last has the rest.

    Source: https://arxiv.org/abs/1907.10529, section 3.3: one contiguous segment of up to 512 tokens.
    """
    return _samples(layout, cut(_documents(layout), max_seq_length - SINGLE_SPECIAL_TOKENS))


def chunks(layout: Layout, max_seq_length: int, short_seq_prob: float, random: Random) -> Samples:
    """Blocks of the full length of all documents of the partition in a row; only the partition's last is shorter.

    Source: experiments/language_model/prepare_data.py of microsoft/DeBERTa: 510 tokens for a length of 512.
    """
    whole = np.unique(_documents(layout)[[0, -1]])
    return _samples(layout, cut(whole, max_seq_length - SINGLE_SPECIAL_TOKENS))


def cut(starts: Positions, limit: int) -> Positions:
    """Cuts each piece into pieces of `limit` tokens, of which the last has the rest; no piece is empty."""
    counts = -(-np.diff(starts) // limit)  # (P,)
    numbers = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.append(np.repeat(starts[:-1], counts) + limit * numbers, starts[-1])


def pack(pieces: Positions, limit: int, ends: npt.NDArray[np.int64] | None = None) -> Positions:
    """Joins consecutive pieces while they hold at most `limit` tokens together.

    Args:
        pieces: none longer than `limit`.
        limit: most tokens.
        ends: numbers of pieces, ascending, the last P: no result goes on past one of them.
    """
    stops = np.searchsorted(pieces, pieces[:-1] + limit, side="right") - 1  # (P,) where what begins at each piece ends
    if ends is not None:
        stops = np.minimum(stops, ends[np.searchsorted(ends, np.arange(len(stops)), side="right")])
    following, chosen = stops.tolist(), [0]
    while chosen[-1] < len(following):
        chosen.append(following[chosen[-1]])
    return pieces[chosen]


def _sentences(layout: Layout) -> Positions:
    return np.asarray(layout.sentences, np.int64)


def _documents(layout: Layout) -> Positions:
    """Where each document that has tokens starts in the tokens, and their number."""
    return np.unique(_sentences(layout)[np.asarray(layout.documents)])


def _samples(layout: Layout, starts: Positions) -> Samples:
    """The single segments between these positions."""
    begin, end = starts[:-1], starts[1:]
    documents = np.searchsorted(_sentences(layout)[np.asarray(layout.documents)], begin, side="right") - 1
    return np.stack([begin, end, end, end, np.zeros_like(begin), documents], axis=1)
