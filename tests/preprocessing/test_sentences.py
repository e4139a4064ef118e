"""Laws of preprocessing/sentences.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.sentences import split_sentences


def test_abbreviations_do_not_end_sentences_and_lines_do():
    """Sentences end at full stops that are not those of abbreviations, and at every line end."""
    text = "Dr. Smith met J. Doe in the U.S. in May. They spoke!\nA heading\n\nIs it? Yes."
    assert split_sentences(text, "en", 100) == (
        ["Dr. Smith met J. Doe in the U.S. in May.", "They spoke!", "A heading", "Is it?", "Yes."],
        [],
    )


def test_long_sentences_are_dropped_and_counted():
    """A sentence of 100,000 characters is dropped and counted, and its neighbours are kept."""
    kept, dropped = split_sentences(f"One. {'x' * 99_999}. Two.\nThree.", "en", 10_000)
    assert kept == ["One.", "Two.", "Three."]
    assert dropped == [100_000]


@pytest.mark.parametrize("space", ["\xa0", "\u2009", "\u3000", "\t", "\u2028"])
def test_white_space_of_any_kind_is_one_space(space):
    """An initial before wide white space, on which sentencex 1.0.32 panics, is read as any other."""
    assert split_sentences(f"J{space}. S.{space}{space}Bach wrote.", "en", 100) == (["J . S. Bach wrote."], [])


@given(st.text(st.characters(codec="utf-8"), max_size=200))
def test_nothing_but_white_space_is_lost(text):
    """The sentences together are the text without white space at line ends."""
    kept, dropped = split_sentences(text, "en", 1000)
    assert "".join("".join(kept).split()) == "".join(text.split())
    assert all(sentence == sentence.strip() != "" for sentence in kept) and not dropped
