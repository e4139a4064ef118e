"""Laws of preprocessing/tokenizer/wordpiece.py."""

import gzip
import json
from pathlib import Path
from random import Random

import pyarrow as pa
import pytest
import transformers
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.errors import DataError
from preprocessing.tokenizer.encoding import encode
from preprocessing.tokenizer.normalization import Settings, settings_of
from preprocessing.tokenizer.registry import size_of
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
    """A token that was added to a vocabulary is one id wherever it stands, with or without punctuation in it."""
    tokenizer = make_tokenizer(SPECIAL + LETTERS, lower_case=True)
    tokenizer.add_tokens(["<e>", "bc"])
    sentences = ["a<e>,ab abcd <e", "AB bc."]
    expected = [encoding.ids for encoding in tokenizer.encode_batch(sentences, add_special_tokens=False)]
    assert {len(SPECIAL + LETTERS), len(SPECIAL + LETTERS) + 1} <= {token for ids in expected for token in ids}
    assert encode(tokenizer, pa.array(sentences)).to_pylist() == expected


def test_what_is_saved_is_what_transformers_loads(tmp_path):
    """AutoTokenizer, BertTokenizerFast and load_tokenizer give the same ids, pairs and special tokens."""
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
    """Saved files depend neither on the process nor on the time."""
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
    """A byte-order mark and line ends of Windows are not part of a token."""
    (tmp_path / "vocab.txt").write_bytes("".join(f"{token}\r\n" for token in [*SPECIAL, "é"]).encode(encoding))
    assert read_vocabulary(tmp_path / "vocab.txt") == [*SPECIAL, "é"]


def test_training_merges_what_is_frequent():
    """The most frequent words become tokens, and characters beyond the limit do not."""
    sentences = pa.array(["hello world"] * 50 + ["hexagon"] * 2 + ["q"])
    tokens = train_vocabulary([sentences], 40, 0.99, lower_case=True)
    assert {"hello", "world"} <= set(tokens)
    assert "q" not in tokens and "##x" not in tokens
    assert make_tokenizer(tokens, True).encode("HELLO q", add_special_tokens=False).tokens == ["hello", "[UNK]"]


def chinese(number, seed=0):
    """Return sentences of 30 characters drawn from `number` Chinese ones, the first ones far more often."""
    random = Random(seed)
    return ["".join(chr(0x4E00 + int(number * random.random() ** 3)) for _ in range(30)) for _ in range(1000)]


def test_the_alphabet_follows_the_size_and_the_coverage():
    """Of 3,000 Chinese characters all have tokens where there is room, and otherwise as many of the most frequent as
    fit.
    """
    text = [pa.array(chinese(3000))]
    distinct = len(set("".join(text[0].to_pylist())))
    assert distinct > 2500
    assert len(train_vocabulary(text, 30_522, 1.0, lower_case=True)) == distinct + 5
    common = train_vocabulary(text, 30_522, 0.9, lower_case=True)
    known = sum(character in common for sentence in text[0].to_pylist() for character in sentence)
    assert 0.9 <= known / (1000 * 30) < 0.999 and 2034 <= len(common) < distinct
    few = train_vocabulary(text, 1005, 0.9995, lower_case=True)
    assert len(few) == 1005 and {chr(0x4E00 + number) for number in range(50)} <= set(few)


def test_rare_characters_keep_their_tokens_while_they_are_cheap():
    """Rare characters have tokens up to a fifteenth of the vocabulary: English needs few, and its
    foreign names more.
    """
    text = [pa.array(["the cat sat on the mat"] * 10_000 + ["ж"])]
    assert "ж" in train_vocabulary(text, 1000, 0.9, lower_case=True)
    assert "ж" not in train_vocabulary(text, 100, 0.9, lower_case=True)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a"], r"vocab\.txt: lacks \[MASK\]"),
        ([*SPECIAL, "a", "", "b"], r"vocab\.txt:7: empty line"),
    ],
)
def test_a_vocabulary_that_is_none_is_refused_with_its_place(tmp_path, lines, message):
    """A missing special token and an empty line are errors with their place."""
    (tmp_path / "vocab.txt").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=message):
        read_vocabulary(tmp_path / "vocab.txt")


ODD = ["\u2028", "\u3000", "\x85", "\x1c", "\u00a0", "\u200b", "a", "b", "中", "a", "e ", "##b", "\u00a0c", "b"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_are_read_as_transformers_reads_them(tmp_path, end):
    """White space alone is a token, blanks at the end of a line are not part of one, and of equal tokens the last one
    counts.
    """
    path = tmp_path / "vocab.txt"
    path.write_bytes(end.join([*SPECIAL, *ODD, ""]).encode())
    tokenizer = make_tokenizer(read_vocabulary(path), lower_case=True)
    ids = tokenizer.get_vocab()
    assert [ids[token] for token in ("\u2028", "\x1c", "a", "b", "e", "##b")] == [5, 8, 14, 18, 15, 16]
    assert size_of(tokenizer) == len(SPECIAL) + len(ODD)
    reference = transformers.BertTokenizer.from_pretrained(tmp_path)
    texts = ["a b ab", "中a\u3000b", "e\x85a", "c \u2028 a\x1cb", "\u00a0c abb e"]
    assert encode(tokenizer, pa.array(texts)).to_pylist() == reference(texts, add_special_tokens=False)["input_ids"]


def test_ids_of_no_token_survive_saving(tmp_path):
    """A repeated token leaves an id without a token, and the saved files have the same ids for load_tokenizer and
    transformers.
    """
    tokenizer = make_tokenizer([*SPECIAL, "a", "[duplicate7]", "b", "a", "b"], lower_case=True)
    save_tokenizer(tokenizer, tmp_path)
    assert read_vocabulary(tmp_path / "vocab.txt") == [
        *SPECIAL, "[duplicate5]", "[duplicate7]", "[[duplicate7]]", "a", "b",
    ]  # fmt: skip
    again = load_tokenizer(tmp_path)
    assert size_of(again) == 10 and encode(again, pa.array(["a b"])).to_pylist() == [[8, 9]]
    assert transformers.AutoTokenizer.from_pretrained(tmp_path)("a b", add_special_tokens=False)["input_ids"] == [8, 9]


@pytest.mark.parametrize(("lower_case", "strip_accents"), [(True, False), (False, True), (True, True), (False, False)])
def test_accents_are_kept_as_transformers_keeps_them(tmp_path, lower_case, strip_accents):
    """The setting of accents is saved: vowel signs and voicing marks are kept, or removed, as transformers does."""
    tokens = [*SPECIAL, "में", "म", "が", "か", "é", "e", "É", "E", "다"]
    tokenizer = make_tokenizer(tokens, lower_case, strip_accents)
    save_tokenizer(tokenizer, tmp_path)
    texts = ["में", "が", "É é", "다"]
    ids = encode(tokenizer, pa.array(texts)).to_pylist()
    assert ids[:2] == ([[6], [8]] if strip_accents else [[5], [7]])
    for loaded in (transformers.AutoTokenizer, transformers.BertTokenizer):
        assert loaded.from_pretrained(tmp_path)(texts, add_special_tokens=False)["input_ids"] == ids
    assert settings_of(load_tokenizer(tmp_path)) == Settings(lower_case, strip_accents)
