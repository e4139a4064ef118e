"""The strategies by name. To add one, add a module to this package, a line to STRATEGIES and one to defaults.py."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from preprocessing.errors import check_name
from preprocessing.schema import PAIR_SPECIAL_TOKENS, SINGLE_SPECIAL_TOKENS
from preprocessing.segments.electra import segment_pairs
from preprocessing.segments.layout import Layout, Samples
from preprocessing.segments.nsp import next_sentence_pairs
from preprocessing.segments.packing import blocks, chunks, doc_sentences, full_sentences
from preprocessing.segments.sop import sentence_order_pairs


@dataclass(frozen=True)
class Strategy:
    """A strategy that makes samples of the sentences of a partition."""

    samples: Callable[[Layout, int, float, Random], Samples]
    """From the layout, max_seq_length, short_seq_prob and random numbers to the samples of one pass."""
    num_special_tokens: int = SINGLE_SPECIAL_TOKENS
    """Fewest special tokens that training adds to a sample: its text has at most max_seq_length less these."""
    min_documents: int = 1
    """Fewest documents that a partition must have."""
    labels: tuple[str, ...] = ()
    """Human-readable meanings of the values of the `label` column; empty: all labels are 0."""
    most_of_label_1: float = 0.5
    """Largest usual share of the samples with label 1; the smallest is a half. For nsp, a chunk of one sentence always
    gives a random pair: measured 50 to 55 % of the samples at 128 tokens and more, 59 to 67 % at 64."""


STRATEGIES = {
    "nsp": Strategy(next_sentence_pairs, PAIR_SPECIAL_TOKENS, 2, ("B follows A", "B is random"), 0.6),
    "sop": Strategy(sentence_order_pairs, PAIR_SPECIAL_TOKENS, 1, ("B follows A", "A follows B")),
    "electra": Strategy(segment_pairs),
    "full_sentences": Strategy(full_sentences),
    "doc_sentences": Strategy(doc_sentences),
    "blocks": Strategy(blocks),
    "chunks": Strategy(chunks),
}


def strategy(name: str) -> Strategy:
    """The strategy of this name.

    Raises:
        DataError: there is none.
    """
    check_name("segments", name, STRATEGIES)
    return STRATEGIES[name]
