"""What the options need to know of each kind of tokenizer; `registry.py` has the rest.

Nothing is imported here that makes a tokenizer, so that a help text does without.
"""

from dataclasses import dataclass

WORDPIECE_COVERAGE = 0.9995
"""Share of the characters of the text that get tokens in a trained vocabulary, as SentencePiece has it for languages
with many characters."""
UNIGRAM_COVERAGE = 0.99995
"""Share of the characters of the text that get a piece; as ALBERT's."""


@dataclass(frozen=True)
class Defaults:
    """What holds where nothing else is said."""

    vocab_size: int
    """Number of tokens of the published one, and of a trained one where nothing else is said."""
    smallest: int
    """Fewest tokens that make sense."""
    character_coverage: float | None
    """Share of the characters that get tokens where nothing else is said; None: all bytes have one."""
    lower_case: bool
    """Whether the published one lower-cases text; the default."""


DEFAULTS = {
    "wordpiece": Defaults(30_522, 100, WORDPIECE_COVERAGE, lower_case=True),
    "bytelevel_bpe": Defaults(50_265, 5 + 256, None, lower_case=False),  # Special tokens and bytes, without any merge.
    "unigram": Defaults(30_000, 100, UNIGRAM_COVERAGE, lower_case=True),
}
"""By the names in `KINDS` of registry.py."""
