"""What is to be known of a tokenizer and the text that it is for: its report, and the lines that a user should read."""

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
"""Share of the text's characters that may be removed without a word: of English 0.05 % are accents, of German 1.5 %, of
French 3 %."""
MIN_COVERED = 0.999
"""Share of the text's characters that a vocabulary should know."""
_SHOWN = 5


@dataclass(frozen=True)
class Review:
    """A tokenizer and a text."""

    vocab_size: int
    """Number of ids, those of special tokens included."""
    unreachable: int
    """Tokens that the normalizer changes, so that no text has them."""
    cut: int
    """Tokens that are cut before the vocabulary is asked, such as punctuation inside a word."""
    characters: int
    """Characters of the text that was looked at; 0: there was none, and what follows says nothing."""
    removed_share: float
    """Share of them that the normalizer removes, or whose accents or marks it removes."""
    removed: str
    """The most frequent of them, for people."""
    remedy: str
    """What a user may do about it."""
    known_characters: int
    """Distinct characters of the text that have a token."""
    distinct_characters: int
    """Distinct characters of the text, as the normalizer leaves them."""
    covered_share: float
    """Share of the text's characters that have a token."""
    missing: str
    """The most frequent of the others."""

    @staticmethod
    def of(tokenizer: Tokenizer, counts: Mapping[str, int]) -> "Review":
        """The review of a tokenizer on a text with these characters."""
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
        """Lines on what a trained vocabulary is short of.

        Args:
            vocab_size: number of tokens that was asked for.
            coverage: share of the characters that was asked for; None: all have tokens.
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
        """Lines on what the tokenizer does to the text."""
        notes = []
        if self.removed_share > MAX_REMOVED:
            notes.append(
                f"the normalizer removes {self.removed_share:.1%} of the text's characters, or their accents and marks "
                f"({self.removed}); {self.remedy}"
            )
        return notes


def kept_marks(counts: Mapping[str, int]) -> str:
    """Why accents are kept by default in a text with these characters."""
    marked = sorted(filter(spells_with_marks, counts), key=lambda character: (-counts[character], character))
    return (
        f"accents and marks are kept: {share_of_marks(counts):.1%} of the characters have some that are part of the "
        f"spelling ({' '.join(map(name_of, marked[:_SHOWN]))}); --strip_accents true removes them"
    )
