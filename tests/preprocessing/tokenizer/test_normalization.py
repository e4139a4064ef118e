"""Laws of preprocessing/tokenizer/normalization.py."""

import pyarrow as pa
import pytest

from preprocessing.tokenizer.normalization import (
    MAX_MARKS,
    alphabet,
    count_characters,
    removal,
    share_of_marks,
    spells_with_marks,
    unreachable,
)
from preprocessing.tokenizer.registry import KINDS
from preprocessing.tokenizer.wordpiece import SPECIAL_TOKENS, make_tokenizer

SPECIAL = list(SPECIAL_TOKENS.values())
TEXTS = {
    "English": ("A naïve café owner in Zürich met a señora.", True),
    "Greek": ("Η Ελλάδα είναι μία χώρα.", True),
    "Vietnamese": ("Tiếng Việt là ngôn ngữ.", True),
    "Hindi": ("मैं घर में हूँ।", False),
    "Japanese": ("私はガラスが好きです。", False),
    "Korean": ("다람쥐 헌 쳇바퀴", False),
    "Russian": ("Мой дорогой, ёлка", False),
    "Arabic": ("أنا إنسان", False),
    "Thai": ("ที่นี่", False),
    "Chinese": ("我们在北京。", True),
}


@pytest.mark.parametrize("language", TEXTS)
def test_where_marks_are_part_of_the_spelling(language):
    """In Latin and Greek, marks are accents that may be removed, as in the published models; elsewhere they are part of
    the spelling.
    """
    text, may_be_stripped = TEXTS[language]
    assert (share_of_marks(count_characters([pa.array([text])])) <= MAX_MARKS) == may_be_stripped


def test_characters_are_judged_alone():
    """A mark alone, a character with one, and a syllable that is decomposed are recognised, and accents are not."""
    assert [c for c in "eéंमがか다йиάأا" if spells_with_marks(c)] == list("ंが다йأ")


def test_characters_are_counted_without_white_space():
    """Characters are counted over all batches without white space, also beyond the basic plane."""
    assert count_characters([pa.array(["a b", "ab𝒳\u3000"]), pa.array(["b"])]) == {"a": 2, "b": 3, "𝒳": 1}
    assert count_characters([]) == {}


def test_what_is_removed_is_counted():
    """Marks of composed characters, marks alone, and characters that vanish count as removed, and a change of case does
    not.
    """
    counts = {"A": 10, "é": 5, "\u0902": 3, "\u200b": 1, "中": 1}
    found = removal(make_tokenizer(SPECIAL, lower_case=True), counts)
    assert (found.characters, found.removed) == (20, 9)
    assert found.text == "é -> e, U+0902 -> nothing, U+200B -> nothing"
    kept = removal(make_tokenizer(SPECIAL, lower_case=True, strip_accents=False), counts)
    assert kept.text == "U+200B -> nothing" and "control characters" in kept.remedy
    assert (found.marks, kept.marks) == (8, 0) and found.remedy == "--strip_accents false keeps accents and marks"
    assert removal(KINDS["bytelevel_bpe"].train([pa.array(["a"])], 300, False), counts).removed == 0


def test_tokens_that_never_occur_are_found():
    """Upper case and accents that are removed, and punctuation or Chinese inside a word, make a token unreachable."""
    tokens = [*SPECIAL, "[unused1]", "a", "##a", "France", "é", "##é", "中", "##中", "中国", "##!", "!", "\u2028", "#"]
    found = unreachable(make_tokenizer(tokens, lower_case=True))
    assert found.changed == ["France", "é", "##é", "中国", "\u2028"]
    assert found.cut == ["##中", "##!"] and found.tokens == 12
    cased = unreachable(make_tokenizer(tokens, lower_case=False, chinese_characters=False))
    assert cased.changed == ["\u2028"] and cased.cut == ["##!"]


@pytest.mark.parametrize("kind", KINDS)
def test_trained_tokens_occur(kind):
    """No token of a trained vocabulary is unreachable, for every kind of tokenizer."""
    text = pa.array(["The cat sat on the mat, in a café of Rome!"] * 50)
    found = unreachable(KINDS[kind].train([text], 300, KINDS[kind].lower_case))
    assert found.changed == [] and found.tokens > 20


def test_the_alphabet_is_what_has_tokens():
    """The alphabet is what has tokens after normalisation, alone or inside a word; with bytes it is everything."""
    found = alphabet(make_tokenizer([*SPECIAL, "a", "##b", "e"], lower_case=True), {"A": 5, "b": 3, "é": 1, "ж": 1})
    assert (found.known, found.distinct, found.missing) == (3, 4, ["ж"]) and found.share == pytest.approx(0.9)
    assert alphabet(KINDS["bytelevel_bpe"].train([pa.array(["a"])], 300, False), {"ж": 1}).share == 1
