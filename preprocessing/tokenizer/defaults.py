"""Defaults of the options for each kind of tokenizer; `registry.py` has the kinds.

This module imports no tokenizer library, so that help is shown without loading one.
"""

from dataclasses import dataclass

WORDPIECE_COVERAGE = 0.9995
"""Share of the characters of the text that get tokens in a trained vocabulary: SentencePiece's value for languages with
many characters."""
UNIGRAM_COVERAGE = 0.99995
"""Share of the characters of the text that get a piece: ALBERT's value."""


@dataclass(frozen=True)
class Defaults:
    """Default options of a kind of tokenizer."""

    vocab_size: int
    """Number of tokens of the published vocabulary; the default of a trained one."""
    smallest: int
    """Smallest allowed number of tokens."""
    character_coverage: float | None
    """Default share of the characters that get tokens; None: all bytes have one."""
    lower_case: bool
    """Whether the published tokenizer lower-cases text; the default of a trained one."""


DEFAULTS = {
    "wordpiece": Defaults(30_522, 100, WORDPIECE_COVERAGE, lower_case=True),
    "bytelevel_bpe": Defaults(50_265, 5 + 256, None, lower_case=False),  # Special tokens and bytes, without any merge.
    "unigram": Defaults(30_000, 100, UNIGRAM_COVERAGE, lower_case=True),
}
"""Defaults by the names in `KINDS` of registry.py."""
