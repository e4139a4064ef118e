"""What a tokenizer's normalizer removes from text, and which tokens it makes unreachable."""

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
"""Share of the characters with marks that are part of the spelling from which on accents are kept by default. Measured:
English Wikipedia and books 0.003 %; Persian 0.9 %, Russian 1.8 %, Japanese 6 %, Hindi 18 %."""
_STRIPPED_SCRIPTS = ("LATIN", "GREEK", "COMBINING")
"""Beginnings of the Unicode names of characters whose accents the published uncased models remove. In other scripts a
mark makes another letter (Russian, Japanese) or is a vowel (Hindi, Thai)."""
_EXAMPLES = 5
_SENTENCES_AT_ONCE = 10_000
"""The code points of some MB of text, of eight bytes each, live at a time."""


@dataclass(frozen=True)
class Settings:
    """What a normalizer does."""

    lower_case: bool
    """Whether it lower-cases text."""
    strip_accents: bool
    """Whether it removes combining marks, of precomposed characters too."""
    chinese_characters: bool = True
    """Whether it makes each Chinese character a word of its own."""


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
    """How often each character occurs in the sentences, white space left out."""
    counts = np.zeros(0x110000, np.int64)
    parts = (batch.slice(n, _SENTENCES_AT_ONCE) for batch in batches for n in range(0, len(batch), _SENTENCES_AT_ONCE))
    for part in parts:
        points = np.frombuffer("".join(part.to_pylist()).encode("utf-32-le"), np.uint32)
        counts += np.bincount(points, minlength=len(counts))
    return {chr(number): int(counts[number]) for number in np.flatnonzero(counts) if not chr(number).isspace()}


def marks_of(text: str) -> str:
    """The combining marks of a text, those of precomposed characters among them."""
    return "".join(char for char in unicodedata.normalize("NFD", text) if unicodedata.category(char) == "Mn")


def spells_with_marks(character: str) -> bool:
    """Whether removing marks damages the character's spelling: it has one, in no script of _STRIPPED_SCRIPTS, or it is
    a Hangul syllable, which would come apart into its letters."""
    if "\uac00" <= character <= "\ud7a3":
        return True
    if not marks_of(character):
        return False
    base = unicodedata.normalize("NFD", character)[0]
    return not unicodedata.name(base, "").startswith(_STRIPPED_SCRIPTS)


def share_of_marks(counts: Mapping[str, int]) -> float:
    """Share of the characters that `spells_with_marks` holds for."""
    damaged = sum(count for character, count in counts.items() if spells_with_marks(character))
    return damaged / max(1, sum(counts.values()))


@dataclass(frozen=True)
class Removal:
    """What a normalizer removes from a text."""

    characters: int
    """Characters of the text, white space left out."""
    removed: int
    """Those of them that are removed, or lose a mark."""
    marks: int
    """Those of these that are marks, or had some."""
    examples: list[tuple[str, str]]
    """The most frequent of these, and what remains of each."""

    @property
    def share(self) -> float:
        """Share of the characters."""
        return self.removed / max(1, self.characters)

    @property
    def remedy(self) -> str:
        """What a user may do about it."""
        if 2 * self.marks > self.removed:
            return "--strip_accents false keeps accents and marks"
        return "they are control characters, unassigned ones and the like: are they meant to be in the text?"

    @property
    def text(self) -> str:
        """The examples for people."""
        return ", ".join(f"{name_of(before)} -> {after or 'nothing'}" for before, after in self.examples)


def removal(tokenizer: Tokenizer, counts: Mapping[str, int]) -> Removal:
    """What the tokenizer's normalizer removes from a text with these characters."""
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
    """Which characters of a text a vocabulary has."""

    known: int
    """Distinct characters that have a token."""
    distinct: int
    """All distinct characters, as the normalizer leaves them."""
    share: float
    """Share of the text's characters that are known; words with others are unknown."""
    missing: list[str]
    """The most frequent of the others."""


def alphabet(tokenizer: Tokenizer, counts: Mapping[str, int]) -> Alphabet:
    """The alphabet of a vocabulary on a text with these characters; a byte-level one knows all."""
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
    """The character, or its number where it would not show."""
    return character if character.isprintable() and marks_of(character) != character else f"U+{ord(character):04X}"


@dataclass(frozen=True)
class Unreachable:
    """Tokens that no text gives, special and unused ones such as [unused7] left out."""

    tokens: int
    """Tokens that were looked at."""
    changed: list[str]
    """Those that the normalizer changes: upper case under a normalizer that lower-cases, for instance."""
    cut: list[str]
    """Those that are cut before the vocabulary is asked: punctuation and Chinese characters inside a word."""

    @property
    def share(self) -> float:
        """Share of the tokens that the normalizer makes unreachable."""
        return len(self.changed) / max(1, self.tokens)


def unreachable(tokenizer: Tokenizer) -> Unreachable:
    """Which tokens the normalizer, or the cutting into words, keeps from ever occurring."""
    tokens = plain_tokens(tokenizer)
    if tokenizer.normalizer is None:  # Bytes: any sequence of them is some text.
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
    """The tokens by number, without special and unused ones."""
    ids = tokenizer.get_vocab()
    special = set(kind_of(tokenizer).special_tokens.values())
    return [token for token in sorted(ids, key=ids.__getitem__) if is_plain(token) and token not in special]


def is_plain(token: str) -> bool:
    """Whether a token stands for text; those in brackets, such as [unused7], do not."""
    return not (len(token) > 2 and token[0] in "[<" and token[-1] in "]>")


def text_of(token: str) -> str:
    """The text that a token of WordPiece or a unigram model stands for."""
    return token.removeprefix(CONTINUATION).removeprefix(unigram.MARK) or token
