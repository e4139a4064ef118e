"""Laws of preprocessing/tokenizer/encoding.py for all kinds; test_wordpiece.py has more tests of BERT's."""

from functools import cache

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.tokenizer.encoding import encode
from preprocessing.tokenizer.registry import KINDS, special_id

WORDS = st.text(
    st.sampled_from("abcABÉé中,.'()-1234\u00a0\u0301\u200b☺<>[]")
    | st.characters(codec="utf-8", exclude_characters=" "),
    min_size=1,
    max_size=12,
)
NAMES = ["[MASK]", "[mask]", "[CLS]", "<pad>", "<s>", "</s>", "<mask>", "a<pad>b"]
SENTENCES = st.lists(WORDS | st.sampled_from([*NAMES, "'s", "the"]), max_size=6).map(" ".join)
TEXT = pa.array(
    ["the cat sat (on) the mat, 1,000 times.", "it's a café; the naïve cat isn't.", "abc ABC 中文 12, 34."] * 9
)


@cache
def trained(name):
    """A small tokenizer of this kind."""
    return KINDS[name].train([TEXT], 300, KINDS[name].lower_case)


@pytest.mark.parametrize("name", KINDS)
@given(sentences=st.lists(SENTENCES, min_size=1, max_size=5))
def test_encoding_distinct_words_equals_encoding_sentences(name, sentences):
    """Each sentence has the ids that the tokenizer gives it, and special tokens in the text are text."""
    tokenizer = trained(name)
    tokenizer.encode_special_tokens = True
    ids = encode(tokenizer, pa.array(sentences, pa.string())).to_pylist()
    expected = [encoding.ids for encoding in tokenizer.encode_batch(sentences, add_special_tokens=False)]
    unknown = special_id(tokenizer, "unk_token")
    special = set(range(5)) - {unknown}
    if name == "unigram":  # Its model takes "<pad>" for the piece of this name.
        expected = [[unknown if token in special else token for token in sentence] for sentence in expected]
    assert ids == expected
    assert not special & {token for sentence in ids for token in sentence}


@pytest.mark.parametrize("name", KINDS)
def test_nothing_has_no_tokens(name):
    """No sentences, and empty ones, have no tokens."""
    assert encode(trained(name), pa.array([], pa.string())).to_pylist() == []
    assert encode(trained(name), pa.array(["", ""])).to_pylist() == [[], []]


@pytest.mark.parametrize("name", KINDS)
def test_sentences_in_a_row_are_the_text_joined_with_spaces(name):
    """The tokens of consecutive sentences are those of their text, joined with spaces."""
    sentences = ["The cat sat.", "It's (a) café."]
    parts = encode(trained(name), pa.array(sentences)).to_pylist()
    assert [*parts[0], *parts[1]] == encode(trained(name), pa.array([" ".join(sentences)])).to_pylist()[0]
    if name != "wordpiece":
        expected = " ".join(sentences) if name == "bytelevel_bpe" else "the cat sat. it's (a) cafe."
        assert trained(name).decode(parts[0] + parts[1]).strip() == expected
