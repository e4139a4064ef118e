"""Laws of preprocessing/filters.py."""

import numpy as np
import pytest

from preprocessing.errors import DataError
from preprocessing.filters import (
    CONTAMINATED,
    OTHER_LANGUAGE,
    TOO_LONG,
    TOO_SHORT,
    FilterConfig,
    collect_ngrams,
    contains_any,
    ngrams,
    normalize,
    reason_to_drop,
)

NOTHING = np.empty(0, np.uint64)
ENGLISH = "The ship left the harbour in the morning and nobody on the quay believed that it would ever come back."
GERMAN = "Das Schiff verließ am Morgen den Hafen, und niemand am Kai glaubte, dass es je zurückkommen werde."


def test_default_leaves_nothing_out():
    """Without options every document passes unchanged."""
    config = FilterConfig()
    for text in ("", "x", GERMAN, "e\u0301"):
        assert reason_to_drop(text, "en", config, NOTHING) is None
        assert normalize(text, config) == text


@pytest.mark.parametrize(
    ("text", "config", "reason"),
    [
        ("1234", FilterConfig(min_chars=5), TOO_SHORT),
        ("12345", FilterConfig(min_chars=5, max_chars=5), None),
        ("123456", FilterConfig(max_chars=5), TOO_LONG),
        (ENGLISH, FilterConfig(check_language=True), None),
        (GERMAN, FilterConfig(check_language=True), OTHER_LANGUAGE),
    ],
)
def test_each_reason(text, config, reason):
    """Each filter gives its reason; lengths count characters with bounds included, and language is
    judged by the text.
    """
    assert reason_to_drop(text, "en", config, NOTHING) == reason


def test_unicode_form():
    """NFC joins an accent to its letter, and NFKC also expands ligatures."""
    assert normalize("e\u0301 ﬁ", FilterConfig(unicode_form="NFC")) == "\u00e9 ﬁ"
    assert normalize("e\u0301 ﬁ", FilterConfig(unicode_form="NFKC")) == "\u00e9 fi"


def test_contamination_is_a_run_of_words(tmp_path):
    """A run of 13 words of the evaluation data is found whatever its case and punctuation; 12 words, or others in their
    order, are not.
    """
    evaluation = tmp_path / "dev.tsv"
    evaluation.write_text(f"1\t{ENGLISH}\nshort line\n")
    config = FilterConfig(decontaminate=[evaluation])
    table = collect_ngrams(config.decontaminate, config.ngram_words)
    words = ENGLISH.upper().replace(".", "").split()
    assert reason_to_drop("Before. " + ", ".join(words[3:16]) + " after", "en", config, table) == CONTAMINATED
    assert reason_to_drop("Before. " + ", ".join(words[3:15]) + " after", "en", config, table) is None
    assert reason_to_drop(" ".join(reversed(words)), "en", config, table) is None
    evaluation.write_text(f"{ENGLISH}\n", encoding="utf-16")
    assert {*collect_ngrams([evaluation], config.ngram_words)} <= {*table}


def test_ngrams_equal_only_for_equal_runs():
    """There are as many hashes as runs of words, equal runs have equal hashes, and others, permutations included,
    differ.
    """
    assert len(ngrams("a b c d", 3)) == 2 and len(ngrams("a b", 3)) == 0
    first, second = ngrams("a b a b", 2)[[0, 2]], ngrams("b a", 2)
    assert first[0] == first[1] != second[0]
    many = ngrams(" ".join(map(str, range(5000))), 5)
    assert len(np.unique(many)) == len(many)


def test_contains_any_is_membership():
    """Membership is right for values below, inside and above the table."""
    table = np.array([3, 7], np.uint64)
    assert [contains_any(np.array([v], np.uint64), table) for v in (1, 3, 5, 7, 9)] == [False, True, False, True, False]
    assert not contains_any(NOTHING, table)


def test_unusable_evaluation_data_is_an_error(tmp_path):
    """A missing file, bytes that are not UTF-8, and lines that are too short are errors, since the filter would do
    nothing.
    """
    (tmp_path / "short").write_text("too short\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name, message in (
        ("none", "not a readable"),
        ("binary", "not a readable"),
        ("short", "no line has 13 words"),
    ):
        with pytest.raises(DataError, match=message):
            collect_ngrams([tmp_path / name], 13)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_chars": -1}, "min_chars = -1: must be at least 0"),
        ({"min_chars": 5, "max_chars": 4}, "max_chars = 4: must be 0"),
        ({"ngram_words": 0}, "ngram_words = 0"),
        ({"near_threshold": 0.4}, "near_threshold = 0.4"),
    ],
)
def test_wrong_options_are_named(options, message):
    """An option out of range is an error with the field, the value and the rule."""
    with pytest.raises(ValueError, match=message):
        FilterConfig(**options)
