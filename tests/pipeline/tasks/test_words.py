"""Words as tokens: each word once, at its first token, as `transformers` finds it."""

import numpy as np
import pytest
import transformers
from finetuning_data import VOCAB_SIZE
from samples import write_tokenizer

from pipeline.data.template import Template
from pipeline.tasks.encoding import Pieces, pieces_of
from pipeline.tasks.tokens import spans_of
from pipeline.tasks.words import divide_words, word_sequences

SENTENCES = [["w1p4", "w2", "w3p4p8"], ["w5"], ["\u200b", "w6,w7", "w9p4p8", "\u200b", "w1"]]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """The tokenizer of a BERT."""
    directory = tmp_path_factory.mktemp("words") / "tokenizer"
    write_tokenizer(directory, VOCAB_SIZE)
    return transformers.AutoTokenizer.from_pretrained(directory)


def sequences_of(tokenizer, sentences, max_length):
    texts = [" ".join(words) for words in sentences]
    spans = [spans_of(words) for words in sentences]
    return word_sequences(pieces_of(tokenizer)(texts), spans, Template(), max_length)


def test_first_tokens_are_those_of_transformers(tokenizer):
    """Tokens and the first one of each word are those of `transformers` for words that were divided before."""
    found = sequences_of(tokenizer, SENTENCES, 32)
    rows, begin = [], 0
    for number, words in enumerate(SENTENCES):
        expected = tokenizer(words, is_split_into_words=True)
        assert found.encoded.tokens[number].tolist() == expected["input_ids"][1:-1]
        owners = expected.word_ids()
        rows += [begin + owners.index(word) for word in dict.fromkeys(owners) if word is not None]
        begin += len(owners)
    assert found.rows.tolist() == rows
    assert found.words.tolist() == [0, 1, 2, 0, 1, 2, 4]  # two words of the last sentence have no token
    assert found.sentences.tolist() == [0, 0, 0, 1, 2, 2, 2]


@pytest.mark.parametrize("max_length", [3, 4, 5, 6, 8, 9, 11, 32])
def test_each_word_is_once_in_a_sequence(tokenizer, max_length):
    """However short sequences are, each word that has a token has its first one once, and no sequence is longer."""
    whole, found = sequences_of(tokenizer, SENTENCES, 64), sequences_of(tokenizer, SENTENCES, max_length)
    assert found.encoded.lengths.max() <= max_length
    assert np.array_equal(found.words, whole.words) and np.array_equal(found.sentences, whole.sentences)
    ids = [np.concatenate([[0, *tokens, 0] for tokens in each.encoded.tokens])[each.rows] for each in (found, whole)]
    assert np.array_equal(*ids)


def test_long_sentences_are_divided_between_words():
    """A part begins with a word; of a word that is longer than a sequence, the first tokens are kept."""
    assert divide_words(np.array([0, 2, 3, 9]), 10, 4) == [(0, 3), (3, 7), (9, 10)]
    assert divide_words(np.array([0, 2, 3, 9]), 10, 10) == [(0, 10)]
    assert divide_words(np.array([], np.int64), 0, 4) == [(0, 0)]
    pieces = Pieces(np.arange(6, dtype=np.int32), np.array([0, 1, 2, 3, 5, 6]), np.array([1, 2, 3, 4, 6, 7]))
    found = word_sequences([pieces], [[(0, 4), (5, 7)]], Template(), 5)
    assert (found.divided, found.cut) == (1, 1)
    assert [tokens.tolist() for tokens in found.encoded.tokens] == [[0, 1, 2], [4, 5]]


def test_a_token_may_begin_with_the_space_before_its_word():
    """Some tokenizers count the space before a word as part of its first token."""
    pieces = Pieces(np.arange(3, dtype=np.int32), np.array([0, 2, 4]), np.array([2, 4, 5]))
    assert word_sequences([pieces], [[(0, 2), (3, 5)]], Template(), 9).rows.tolist() == [1, 2]
