"""Laws of preprocessing/tokenizer/wordpiece.py."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest
import transformers
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.errors import DataError
from preprocessing.tokenizer.encoding import encode
from preprocessing.tokenizer.saving import load_tokenizer, save_tokenizer
from preprocessing.tokenizer.wordpiece import (
    SPECIAL_TOKENS,
    make_tokenizer,
    read_vocabulary,
    train_vocabulary,
    vocabulary_of,
)

SHARED = Path(__file__).parents[4] / "shared" / "data"
SPECIAL = list(SPECIAL_TOKENS.values())
LETTERS = [*"abcdeé中,.[]#", *(f"##{letter}" for letter in "abcdeé"), "ab", "##cd", "mask", "the"]
TEXT = st.text(
    st.sampled_from("abcdeABÉé中,.[]–’_İ \t\u00a0\u0301\u200b\x00#x") | st.characters(codec="utf-8"), max_size=30
)


@pytest.mark.parametrize("lower_case", [True, False])
@given(sentences=st.lists(TEXT | st.sampled_from(["[MASK]", "a [SEP] b", "x" * 150]), min_size=1, max_size=8))
def test_encoding_distinct_words_equals_encoding_sentences(lower_case, sentences):
    """Each sentence has the ids that the tokenizer gives it, and special tokens in the text are text."""
    tokenizer = make_tokenizer(SPECIAL + LETTERS, lower_case)
    ids = encode(tokenizer, pa.array(sentences)).to_pylist()
    tokenizer.encode_special_tokens = True
    assert ids == [encoding.ids for encoding in tokenizer.encode_batch(sentences, add_special_tokens=False)]
    assert not {0, 2, 3, 4} & {token for sentence in ids for token in sentence}


def test_added_tokens_are_found_inside_words():
    """A token that was added to a vocabulary is one id wherever it stands, punctuation in it or not."""
    tokenizer = make_tokenizer(SPECIAL + LETTERS, lower_case=True)
    tokenizer.add_tokens(["<e>", "bc"])
    sentences = ["a<e>,ab abcd <e", "AB bc."]
    expected = [encoding.ids for encoding in tokenizer.encode_batch(sentences, add_special_tokens=False)]
    assert {len(SPECIAL + LETTERS), len(SPECIAL + LETTERS) + 1} <= {token for ids in expected for token in ids}
    assert encode(tokenizer, pa.array(sentences)).to_pylist() == expected


def test_what_is_saved_is_what_transformers_loads(tmp_path):
    """AutoTokenizer and BertTokenizerFast give the ids, pairs and special tokens that we do; so does load_tokenizer."""
    tokenizer = make_tokenizer(SPECIAL + LETTERS, lower_case=True)
    save_tokenizer(tokenizer, tmp_path)
    text = "ABÉ cd, the 中x"
    expected = tokenizer.encode(text, add_special_tokens=False).ids
    for kind in (transformers.AutoTokenizer, transformers.BertTokenizerFast):
        loaded = kind.from_pretrained(tmp_path)
        assert loaded(text, add_special_tokens=False)["input_ids"] == expected
        pair = loaded(text, "ab")
        assert pair["input_ids"] == [2, *expected, 3, *tokenizer.encode("ab", add_special_tokens=False).ids, 3]
        assert pair["token_type_ids"] == [0] * (len(expected) + 2) + [1] * 2
        assert [loaded.convert_tokens_to_ids(getattr(loaded, name)) for name in SPECIAL_TOKENS] == [0, 1, 2, 3, 4]
        assert loaded.decode(expected).startswith("abe cd, the")
    again = load_tokenizer(tmp_path)
    assert vocabulary_of(again) == read_vocabulary(tmp_path / "vocab.txt") == SPECIAL + LETTERS
    assert encode(again, pa.array([text])).to_pylist() == [expected]


def test_saving_gives_equal_bytes(tmp_path):
    """Nothing in the files depends on the process or the time."""
    digests = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        save_tokenizer(make_tokenizer(SPECIAL + LETTERS, True), tmp_path / name)
        digests.add(b"".join(path.read_bytes() for path in sorted((tmp_path / name).iterdir())))
    assert len(digests) == 1


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared corpora are not here")
@pytest.mark.parametrize("cased", [False, True])
def test_ids_equal_those_of_transformers_on_wikipedia(tmp_path, cased):
    """With BERT's published vocabularies, real text has the ids of BertTokenizerFast."""
    path = SHARED / "vocab" / f"bert-base-{'' if cased else 'un'}cased-vocab.txt"
    with gzip.open(SHARED / "wikipedia_jsonl" / "wiki_en_sample.jsonl.gz", "rt") as file:
        lines = [line for _ in range(20) for line in json.loads(next(file))["text"].split("\n") if line]
    reference = transformers.BertTokenizerFast(str(path), do_lower_case=not cased)
    expected = reference(lines, add_special_tokens=False)["input_ids"]
    assert encode(make_tokenizer(read_vocabulary(path), not cased), pa.array(lines)).to_pylist() == expected


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_part_of_the_first_token(tmp_path, encoding):
    """Editors on Windows write it, with their line ends."""
    (tmp_path / "vocab.txt").write_bytes("".join(f"{token}\r\n" for token in [*SPECIAL, "é"]).encode(encoding))
    assert read_vocabulary(tmp_path / "vocab.txt") == [*SPECIAL, "é"]


def test_training_merges_what_is_frequent():
    """The most frequent words become tokens, characters beyond the limit do not."""
    sentences = pa.array(["hello world"] * 50 + ["hexagon"] * 2 + ["q"])
    tokens = train_vocabulary([sentences], 40, 11, lower_case=True)
    assert {"hello", "world"} <= set(tokens)
    assert "q" not in tokens and "##x" in tokens
    assert make_tokenizer(tokens, True).encode("HELLO q", add_special_tokens=False).tokens == ["hello", "[UNK]"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a"], r"vocab\.txt: lacks \[MASK\]"),
        ([*SPECIAL, "a", "", "b"], r"vocab\.txt:7: empty line"),
        ([*SPECIAL, "a", "b", "a"], r"vocab\.txt:8: 'a' stands already on line 6"),
    ],
)
def test_a_vocabulary_that_is_none_is_refused_with_its_place(tmp_path, lines, message):
    """A missing special token, an empty line and a repeated token are named."""
    (tmp_path / "vocab.txt").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=message):
        read_vocabulary(tmp_path / "vocab.txt")
