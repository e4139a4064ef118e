"""Which documents are left out before anything is built on them, and why.

A document that is left out is not a bad record: it is counted by its reason in the report and does not stop the job.
Each decision depends on the document and the configuration alone, so filters run wherever the document is read.
"""

import unicodedata
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import py3langid

from preprocessing.errors import DataError
from preprocessing.languages import same_language
from preprocessing.textfiles import read_text

TOO_SHORT = "shorter than min_chars"
TOO_LONG = "longer than max_chars"
OTHER_LANGUAGE = "in another language"
CONTAMINATED = "shares an n-gram with the evaluation data"
DUPLICATE = "duplicate"
NEAR_DUPLICATE = "near-duplicate"

_LANGUAGE_CHARS = 2000
"""A language shows in the first lines; py3langid reads some 3 MB/s."""
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
"""Odd, so that multiplying by it modulo 2^64 loses nothing: the golden ratio's bits."""

DECONTAMINATE_HELP = (
    "Text files of evaluation data (GLUE's .tsv, SQuAD's .json, ...): a document that has ngram_words consecutive "
    "words in common with a line of one is left out."
)


@dataclass(frozen=True)
class FilterConfig:
    """Which documents are left out; counted in the report by reason."""

    unicode_form: Literal["", "NFC", "NFKC"] = ""
    """Unicode normalisation of all text; empty: none. BERT's uncased tokenizer normalises for itself."""
    min_chars: int = 0
    """Shortest document kept, in characters."""
    max_chars: int = 0
    """Longest document kept, in characters; 0: any."""
    check_language: bool = False
    """Whether documents that py3langid finds to be in another language than theirs (see `language`) are left out."""
    decontaminate: list[Path] = field(default_factory=list)
    """Files of evaluation data, in the form of DECONTAMINATE_HELP."""
    ngram_words: int = 13
    """Words in a row that count as contamination; lower-cased, punctuation aside."""
    deduplicate: Literal["no", "exact", "near"] = "exact"
    """Of documents with equal text the first stays; `near`: also of those that share most of their word 5-grams."""
    near_threshold: float = 0.8
    """Estimated share of common 5-grams (Jaccard, by MinHash) from which documents are near-duplicates."""

    def __post_init__(self) -> None:
        for name, least in (("min_chars", 0), ("max_chars", 0), ("ngram_words", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least {least}")
        if 0 < self.max_chars < self.min_chars:
            raise ValueError(f"max_chars is {self.max_chars}, must be 0 (any) or at least min_chars = {self.min_chars}")
        if not 0.5 <= self.near_threshold <= 1:
            raise ValueError(f"near_threshold is {self.near_threshold}, must be 0.5 to 1: a share of common 5-grams")


def normalize(text: str, config: FilterConfig) -> str:
    """The text in the wanted Unicode form."""
    return unicodedata.normalize(config.unicode_form, text) if config.unicode_form else text


def reason_to_drop(text: str, language: str, config: FilterConfig, contamination: np.ndarray) -> str | None:
    """Why a document is left out, or None.

    Args:
        text: of the document, normalised.
        language: code of the language that it should be in.
        config: the rules.
        contamination: from `load_ngrams`.
    """
    if len(text) < config.min_chars:
        return TOO_SHORT
    if 0 < config.max_chars < len(text):
        return TOO_LONG
    if config.check_language and not same_language(py3langid.classify(text[:_LANGUAGE_CHARS])[0], language):
        return OTHER_LANGUAGE
    if len(contamination) and contains_any(ngrams(text, config.ngram_words), contamination):
        return CONTAMINATED
    return None


def words_of(text: str) -> list[str]:
    """Lower-cased runs of letters and digits."""
    return "".join(character if character.isalnum() else " " for character in text.lower()).split()


def ngrams(text: str, length: int) -> np.ndarray:
    """(max(W - length + 1, 0),) uint64 hashes of the runs of `length` among the text's W words.

    A polynomial of the words' CRC-32, modulo 2^64; the same on every machine.
    """
    hashes = np.array([zlib.crc32(word.encode()) for word in words_of(text)], np.uint64)  # (W,)
    count = len(hashes) - length + 1
    if count <= 0:
        return np.empty(0, np.uint64)
    total = np.zeros(count, np.uint64)
    for place in range(length):
        total = (total + hashes[place : place + count]) * _MULTIPLIER
        total ^= total >> np.uint64(29)  # else the product would forget the order of equal words
    return total


def contains_any(values: np.ndarray, table: np.ndarray) -> bool:
    """Whether any of the values (N,) is in the sorted table (M,)."""
    places = np.minimum(np.searchsorted(table, values), len(table) - 1)
    return bool((table[places] == values).any())


def collect_ngrams(paths: Iterable[Path], length: int) -> np.ndarray:
    """Sorted distinct hashes of all n-grams within lines of these files.

    Raises:
        DataError: a file cannot be read as UTF-8 text, or none of its lines has so many words.
    """
    found = []
    for path in paths:
        try:
            lines = read_text(path).splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"--decontaminate: {path}: not a readable UTF-8 text file ({error})") from None
        parts = [grams for line in lines if len(grams := ngrams(line, length))]
        if not parts:
            raise DataError(
                f"--decontaminate: {path}: no line has {length:,} words, so nothing could be recognised; "
                f"give text{', or a smaller --ngram_words' * (length > 1)}"
            )
        found += parts
    return np.unique(np.concatenate([np.empty(0, np.uint64), *found]))


@lru_cache(maxsize=1)
def load_ngrams(path: Path | None) -> np.ndarray:
    """The table that `collect_ngrams` made and `extract` saved; empty where there is none. Read once per process."""
    return np.empty(0, np.uint64) if path is None else np.load(path)
