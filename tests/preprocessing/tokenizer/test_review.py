"""Laws of preprocessing/tokenizer/review.py."""

from preprocessing.tokenizer.review import Review, kept_marks
from preprocessing.tokenizer.wordpiece import SPECIAL_TOKENS, make_tokenizer

SPECIAL = list(SPECIAL_TOKENS.values())


def test_a_fitting_tokenizer_gives_no_note():
    """A tokenizer that knows all characters, removes few, and has the wanted size gives no note."""
    review = Review.of(make_tokenizer([*SPECIAL, "a", "b"], True), {"a": 1000, "b": 500, "á": 2})
    assert review.warnings() == [] and review.shortfalls(7, 1.0) == []
    assert (review.vocab_size, review.known_characters, review.covered_share) == (7, 2, 1.0)


def test_what_a_vocabulary_is_short_of_is_told():
    """A note states the size that was missed, and the characters for which there was no room."""
    review = Review.of(make_tokenizer([*SPECIAL, "a"], True), {"a": 90, "b": 8, "c": 2})
    size, coverage = review.shortfalls(30_522, 0.9995)
    assert size.startswith("6 tokens, fewer than vocab_size = 30,522: each word of the text is one token already")
    assert "has room for 1 of the text's 3 characters, 90.00% of the text" in coverage
    assert "character_coverage is 99.950%; words with others (b c) are unknown" in coverage
    assert review.shortfalls(6, None) == []


def test_a_removed_share_is_told():
    """The warning names the removed characters and the option that keeps them."""
    (note,) = Review.of(make_tokenizer([*SPECIAL, "か", "a"], True), {"が": 5, "a": 95}).warnings()
    assert note.startswith("the normalizer removes 5.0% of the text's characters") and "(が -> か)" in note
    assert "--strip_accents false" in note


def test_an_empty_text_says_nothing():
    """An empty text, as before any document for a given vocabulary, gives no note."""
    assert Review.of(make_tokenizer(SPECIAL, True), {}).warnings() == []


def test_kept_marks_name_the_most_frequent():
    """The message names the most frequent kept marks and the share of all."""
    assert kept_marks({"が": 3, "ぎ": 1, "a": 96}).startswith(
        "accents and marks are kept: 4.0% of the characters have some that are part of the spelling (が ぎ)"
    )
