"""Examples as tokens equal those of the model's tokenizer in `transformers`."""

import numpy as np
import pytest
import transformers
from finetuning_data import VOCAB_SIZE
from samples import write_tokenizer

from pipeline.data.template import Template
from pipeline.tasks.encoding import Sequences, batch_of, divide, encode, tokens_of

LENGTHS = [(1, 1), (9, 1), (1, 9), (5, 5), (6, 5), (5, 6), (9, 9), (8, 3), (3, 8), (2, 2)]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """The tokenizer of a BERT."""
    directory = tmp_path_factory.mktemp("encoding") / "tokenizer"
    write_tokenizer(directory, VOCAB_SIZE)
    return transformers.AutoTokenizer.from_pretrained(directory)


def sequences_of(tokenizer, max_length):
    ids = {"cls": tokenizer.cls_token_id, "sep": tokenizer.sep_token_id, "pad": tokenizer.pad_token_id}
    return Sequences(tokens_of(tokenizer), ids, Template(), max_length)


def words(count, first):
    return " ".join(f"w{first + number}" for number in range(count))


@pytest.mark.parametrize("max_length", [9, 10, 32])
@pytest.mark.parametrize("pairs", [True, False])
def test_tokens_and_segments_are_those_of_transformers(tokenizer, max_length, pairs):
    """Tokens and segments of texts and pairs are those of `transformers`, whichever text is longer and cut."""
    texts = [(words(a, 1), words(b, 21)) if pairs else (words(a + b, 1),) for a, b in LENGTHS]
    sequences = sequences_of(tokenizer, max_length)
    encoded = encode(texts, sequences)
    batch = batch_of(encoded, np.arange(len(texts)), {}, sequences)
    expected = [tokenizer(*text, truncation=True, max_length=max_length) for text in texts]
    assert batch.input_ids.tolist() == [token for each in expected for token in each["input_ids"]]
    assert batch.segment_ids.tolist() == [segment for each in expected for segment in each["token_type_ids"]]
    assert encoded.lengths.tolist() == [len(each["input_ids"]) for each in expected] == batch.lengths.tolist()


def test_texts_without_tokens(tokenizer):
    """An empty text has the special tokens alone; an empty second text is left out."""
    sequences = sequences_of(tokenizer, 8)
    assert encode([("",)], sequences).lengths.tolist() == [2]
    assert encode([("w1", ""), ("", "w1")], sequences).lengths.tolist() == [3, 4]


def test_parts_have_at_most_the_given_tokens():
    """The parts have all rows in their order, and a row that has more tokens than the bound is a part of its own."""
    rows, sizes = np.arange(6), np.array([4, 4, 9, 3, 3, 3])
    assert [part.tolist() for part in divide(rows, sizes, 8)] == [[0, 1], [2], [3, 4], [5]]
    assert [part.tolist() for part in divide(rows, sizes, 100)] == [[0, 1, 2, 3, 4, 5]]
