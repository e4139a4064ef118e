"""Effects of a tokenizer's normalizer: the characters that it removes, and the tokens that it makes unreachable."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer, models, normalizers

from preprocessing.tokenizer import unigram
from preprocessing.tokenizer.registry import kind_of
from preprocessing.tokenizer.wordpiece import CONTINUATION

MAX_MARKS = 0.001
"""Share of characters whose marks are part of the spelling, above which accents are kept by default. Measured: English
Wikipedia and books 0.003 %; Persian 0.9 %, Russian 1.8 %, Japanese 6 %, Hindi 18 %."""
_STRIPPED_SCRIPTS = ("LATIN", "GREEK", "COMBINING")
"""Prefixes of the Unicode names of characters from which accents are removed by default. In other scripts a mark makes
another letter (Russian, Japanese) or is a vowel (Hindi, Thai)."""
_EXAMPLES = 5
_SENTENCES_AT_ONCE = 10_000
"""Sentences per step; bounds the memory for their code points."""


@dataclass(frozen=True)
class Settings:
    """Settings of a normalizer."""

    lower_case: bool
    """Whether text is lower-cased."""
    strip_accents: bool
    """Whether combining marks are removed, including those of precomposed characters."""
    chinese_characters: bool = True
    """Whether each Chinese character is a word of its own."""


def settings_of(tokenizer: Tokenizer) -> Settings:
    """The settings of a tokenizer that this package made or loaded."""
    normalizer = tokenizer.normalizer
    if isinstance(normalizer, normalizers.BertNormalizer):
        lower_case, strip_accents = bool(normalizer.lowercase), normalizer.strip_accents
        strips = lower_case if strip_accents is None else bool(strip_accents)
        return Settings(lower_case, strips, bool(normalizer.handle_chinese_chars))
    if isinstance(normalizer, normalizers.Sequence):
        return Settings(unigram.lower_cases(tokenizer), unigram.strips_accents(tokenizer), False)
    return Settings(False, False, False)


def count_characters(batches: Iterable[pa.StringArray]) -> dict[str, int]:
    """Number of occurrences of each character in the sentences, white space excluded."""
    counts = np.zeros(0x110000, np.int64)
    parts = (batch.slice(n, _SENTENCES_AT_ONCE) for batch in batches for n in range(0, len(batch), _SENTENCES_AT_ONCE))
    for part in parts:
        points = np.frombuffer("".join(part.to_pylist()).encode("utf-32-le"), np.uint32)
        counts += np.bincount(points, minlength=len(counts))
    return {chr(number): int(counts[number]) for number in np.flatnonzero(counts) if not chr(number).isspace()}


def marks_of(text: str) -> str:
    """The combining marks of a text, including those of precomposed characters."""
    return "".join(char for char in unicodedata.normalize("NFD", text) if unicodedata.category(char) == "Mn")


def spells_with_marks(character: str) -> bool:
    """Whether removing marks damages the spelling of a character: it has a mark and its script is not in
    _STRIPPED_SCRIPTS, or it is a Hangul syllable, which would be decomposed into its letters."""
    if "\uac00" <= character <= "\ud7a3":
        return True
    if not marks_of(character):
        return False
    base = unicodedata.normalize("NFD", character)[0]
    return not unicodedata.name(base, "").startswith(_STRIPPED_SCRIPTS)


def share_of_marks(counts: Mapping[str, int]) -> float:
    """Share of the characters for which `spells_with_marks` is true."""
    damaged = sum(count for character, count in counts.items() if spells_with_marks(character))
    return damaged / max(1, sum(counts.values()))


@dataclass(frozen=True)
class Removal:
    """Characters that a normalizer removes from a text, or from which it removes marks."""

    characters: int
    """Number of characters of the text, white space excluded."""
    removed: int
    """Number of characters that are removed or lose a mark."""
    marks: int
    """Number of removed characters that are marks or had marks."""
    examples: list[tuple[str, str]]
    """The most frequent removed characters, each with its normal form."""

    @property
    def share(self) -> float:
        """Share of the characters that are removed or lose a mark."""
        return self.removed / max(1, self.characters)

    @property
    def remedy(self) -> str:
        """Advice to the user."""
        if 2 * self.marks > self.removed:
            return "--strip_accents false keeps accents and marks"
        return "they are control characters, unassigned characters and the like: check the text"

    @property
    def text(self) -> str:
        """The examples as text for messages."""
        return ", ".join(f"{name_of(before)} -> {after or 'nothing'}" for before, after in self.examples)


def removal(tokenizer: Tokenizer, counts: Mapping[str, int]) -> Removal:
    """The removals by a tokenizer's normalizer in a text with these character counts."""
    changed = {}
    if tokenizer.normalizer is not None:
        for character in counts:
            after = tokenizer.normalizer.normalize_str(character).strip()
            if not after or len(marks_of(after)) < len(marks_of(character)):
                changed[character] = after
    order = sorted(changed, key=lambda character: (-counts[character], character))
    removed = sum(counts[character] for character in changed)
    marks = sum(counts[character] for character in changed if marks_of(character))
    return Removal(sum(counts.values()), removed, marks, [(char, changed[char]) for char in order[:_EXAMPLES]])


@dataclass(frozen=True)
class Alphabet:
    """Coverage of the characters of a text by a vocabulary."""

    known: int
    """Number of distinct characters that have a token."""
    distinct: int
    """Number of distinct characters after normalization."""
    share: float
    """Share of the text's characters that have a token; words with other characters are unknown."""
    missing: list[str]
    """The most frequent characters without a token."""


def alphabet(tokenizer: Tokenizer, counts: Mapping[str, int]) -> Alphabet:
    """The coverage of a text with these character counts; a byte-level vocabulary covers all characters."""
    after: Counter[str] = Counter()
    for character, count in counts.items():
        text = character if tokenizer.normalizer is None else tokenizer.normalizer.normalize_str(character)
        for part in text:
            if not part.isspace():
                after[part] += count
    vocabulary = tokenizer.get_vocab()
    knows_all = isinstance(tokenizer.model, models.BPE)
    missing = {
        part: count
        for part, count in after.items()
        if not (knows_all or part in vocabulary or CONTINUATION + part in vocabulary)
    }
    order = sorted(missing, key=lambda part: (-missing[part], part))
    share = 1 - sum(missing.values()) / max(1, after.total())
    return Alphabet(len(after) - len(missing), len(after), share, order[:_EXAMPLES])


def name_of(character: str) -> str:
    """The character, or its code point if it is not visible."""
    return character if character.isprintable() and marks_of(character) != character else f"U+{ord(character):04X}"


@dataclass(frozen=True)
class Unreachable:
    """Tokens that no text produces, except special and reserved ones such as [unused7]."""

    tokens: int
    """Number of tokens examined."""
    changed: list[str]
    """Tokens that the normalizer changes, such as those with upper case under a lower-casing normalizer."""
    cut: list[str]
    """Tokens that the pre-tokenizer splits: those with punctuation or Chinese characters inside a word."""

    @property
    def share(self) -> float:
        """Share of the tokens that the normalizer makes unreachable."""
        return len(self.changed) / max(1, self.tokens)


def unreachable(tokenizer: Tokenizer) -> Unreachable:
    """The tokens that normalization or pre-tokenization prevents from occurring."""
    tokens = plain_tokens(tokenizer)
    if tokenizer.normalizer is None:  # Byte-level: any sequence of bytes is some text.
        return Unreachable(len(tokens), [], [])
    changed, cut = [], []
    for token in tokens:
        text = text_of(token)
        if text == unigram.MARK:
            continue
        if tokenizer.normalizer.normalize_str(text).strip(" ") != text.strip(" "):
            changed.append(token)
        elif isinstance(tokenizer.model, models.WordPiece) and _is_cut(tokenizer, token, text):
            cut.append(token)
    return Unreachable(len(tokens), changed, cut)


def _is_cut(tokenizer: Tokenizer, token: str, text: str) -> bool:
    word = "a" + text if token != text else text
    parts = tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(word))
    return [part for part, _ in parts] != [word]


def plain_tokens(tokenizer: Tokenizer) -> list[str]:
    """The tokens in order of their ids, without special and reserved ones."""
    ids = tokenizer.get_vocab()
    special = set(kind_of(tokenizer).special_tokens.values())
    return [token for token in sorted(ids, key=ids.__getitem__) if is_plain(token) and token not in special]


def is_plain(token: str) -> bool:
    """Whether a token represents text; tokens in brackets, such as [unused7], do not."""
    return not (len(token) > 2 and token[0] in "[<" and token[-1] in "]>")


def text_of(token: str) -> str:
    """The text that a token of WordPiece or a unigram model represents."""
    return token.removeprefix(CONTINUATION).removeprefix(unigram.MARK) or token
