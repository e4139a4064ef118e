"""Filters of documents: by length, language, and overlap with evaluation data.

A filtered document is not a bad record: it is counted by reason in the report and does not stop the job. Each decision
depends on the document and the configuration only, so filters run in the worker that reads the document.
"""

import unicodedata
import zlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np
import py3langid

from preprocessing.errors import DataError
from preprocessing.languages import same_language
from preprocessing.options import FilterConfig
from preprocessing.textfiles import read_text

TOO_SHORT = "shorter than min_chars"
TOO_LONG = "longer than max_chars"
OTHER_LANGUAGE = "in another language"
CONTAMINATED = "shares an n-gram with the evaluation data"
DUPLICATE = "duplicate"
NEAR_DUPLICATE = "near-duplicate"

_LANGUAGE_CHARS = 2000
"""Number of first characters that are classified; py3langid reads some 3 MB/s."""
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
"""2^64 / golden ratio. It is odd, so that multiplication by it modulo 2^64 is invertible."""


def normalize(text: str, config: FilterConfig) -> str:
    """The text in the configured Unicode normal form."""
    return unicodedata.normalize(config.unicode_form, text) if config.unicode_form else text


def reason_to_drop(text: str, language: str, config: FilterConfig, contamination: np.ndarray) -> str | None:
    """The reason why a document is left out; None if it is kept.

    Args:
        text: normalised text of the document.
        language: expected language code.
        config: rules of the filters.
        contamination: n-gram hashes of the evaluation data, from `load_ngrams`.
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
    """The lower-cased runs of letters and digits of a text."""
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
        total ^= total >> np.uint64(29)  # Otherwise the product would not depend on the order of equal words.
    return total


def contains_any(values: np.ndarray, table: np.ndarray) -> bool:
    """Whether any of the values (N,) is in the sorted table (M,)."""
    places = np.minimum(np.searchsorted(table, values), len(table) - 1)
    return bool((table[places] == values).any())


def collect_ngrams(paths: Iterable[Path], length: int) -> np.ndarray:
    """Sorted distinct hashes of all n-grams within lines of these files.

    Raises:
        DataError: a file cannot be read as UTF-8 text, or none of its lines has `length` words.
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
    """Reads the saved table of `collect_ngrams`, once per process; empty if `path` is None."""
    return np.empty(0, np.uint64) if path is None else np.load(path)
