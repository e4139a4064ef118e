"""Report of the tokenizer stage: how a tokenizer fits its text, and warnings for the user."""

from collections.abc import Mapping
from dataclasses import dataclass

from tokenizers import Tokenizer

from preprocessing.tokenizer.normalization import (
    alphabet,
    name_of,
    removal,
    share_of_marks,
    spells_with_marks,
    unreachable,
)
from preprocessing.tokenizer.registry import size_of

REPORT_NAME = "report.json"
MAX_REMOVED = 0.01
"""Share of removed characters above which a warning is logged. Accents are 0.05 % of the characters of English, 1.5 %
of German, 3 % of French."""
_SHOWN = 5


@dataclass(frozen=True)
class Review:
    """Measurements of a tokenizer on a text."""

    vocab_size: int
    """Number of ids, including special tokens."""
    unreachable: int
    """Number of tokens that the normalizer changes, so that they never occur."""
    cut: int
    """Number of tokens that the pre-tokenizer splits, such as those with punctuation inside a word."""
    characters: int
    """Number of characters of the text; 0: there was no text, and the fields below are meaningless."""
    removed_share: float
    """Share of the characters that the normalizer removes, or whose accents or marks it removes."""
    removed: str
    """The most frequent removed characters, as text."""
    remedy: str
    """Advice on the removed characters."""
    known_characters: int
    """Number of distinct characters of the text that have a token."""
    distinct_characters: int
    """Number of distinct characters of the normalized text."""
    covered_share: float
    """Share of the text's characters that have a token."""
    missing: str
    """The most frequent characters without a token, as text."""

    @staticmethod
    def of(tokenizer: Tokenizer, counts: Mapping[str, int]) -> "Review":
        """Reviews a tokenizer on a text with these character counts."""
        tokens, lost, known = unreachable(tokenizer), removal(tokenizer, counts), alphabet(tokenizer, counts)
        return Review(
            vocab_size=size_of(tokenizer),
            unreachable=len(tokens.changed),
            cut=len(tokens.cut),
            characters=lost.characters,
            removed_share=lost.share,
            removed=lost.text,
            remedy=lost.remedy,
            known_characters=known.known,
            distinct_characters=known.distinct,
            covered_share=known.share,
            missing=" ".join(map(name_of, known.missing)),
        )

    def shortfalls(self, vocab_size: int, coverage: float | None) -> list[str]:
        """Messages about a trained vocabulary that is smaller, or covers less, than requested.

        Args:
            vocab_size: requested number of tokens.
            coverage: requested share of the characters; None: all characters have tokens.
        """
        notes = []
        if self.vocab_size < vocab_size:
            is_most_characters = self.known_characters > self.vocab_size / 2
            reason = ", most of them single characters, as each Chinese one is a word" * is_most_characters
            notes.append(
                f"{self.vocab_size:,} tokens, fewer than vocab_size = {vocab_size:,}: each word of the text is one "
                f"token already, or its pieces are too rare{reason}; give more text, or a smaller --vocab_size"
            )
        if coverage is not None and self.covered_share < coverage:
            notes.append(
                f"vocab_size = {vocab_size:,} has room for {self.known_characters:,} of the text's "
                f"{self.distinct_characters:,} characters, {self.covered_share:.2%} of the text, and "
                f"character_coverage is {coverage:.3%}; words with others ({self.missing}) are unknown: raise "
                "--vocab_size"
            )
        return notes

    def warnings(self) -> list[str]:
        """Messages about losses of text by the tokenizer."""
        notes = []
        if self.removed_share > MAX_REMOVED:
            notes.append(
                f"the normalizer removes {self.removed_share:.1%} of the text's characters, or their accents and marks "
                f"({self.removed}); {self.remedy}"
            )
        return notes


def kept_marks(counts: Mapping[str, int]) -> str:
    """The message that explains why accents are kept by default in a text with these character counts."""
    marked = sorted(filter(spells_with_marks, counts), key=lambda character: (-counts[character], character))
    return (
        f"accents and marks are kept: {share_of_marks(counts):.1%} of the characters have some that are part of the "
        f"spelling ({' '.join(map(name_of, marked[:_SHOWN]))}); --strip_accents true removes them"
    )
