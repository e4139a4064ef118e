"""Laws of preprocessing/tokenizer/bytelevel.py."""

import json
import shutil

import pyarrow as pa
import pytest
import transformers

from preprocessing.errors import DataError
from preprocessing.tokenizer.bytelevel import SPECIAL_TOKENS, read_files, train
from preprocessing.tokenizer.defaults import DEFAULTS
from preprocessing.tokenizer.encoding import encode
from preprocessing.tokenizer.saving import load_tokenizer, save_tokenizer


@pytest.fixture(scope="module")
def roberta(published, tmp_path_factory):
    """A directory with RoBERTa's published files under their own names."""
    folder = tmp_path_factory.mktemp("roberta")
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(published / f"roberta-{name}", folder / name)
    return folder


def test_published_files_give_the_ids_of_transformers(roberta, lines):
    """Published files give the ids of transformers on real and unusual text, with a space before the first word."""
    tokenizer = read_files(roberta)
    reference = transformers.RobertaTokenizer.from_pretrained(roberta, add_prefix_space=True, split_special_tokens=True)
    expected = [reference(line, add_special_tokens=False)["input_ids"] for line in lines]
    assert encode(tokenizer, pa.array(lines)).to_pylist() == expected


def test_what_is_saved_is_what_transformers_loads(roberta, lines, tmp_path):
    """AutoTokenizer of transformers gives the ids of the saved tokenizer, RoBERTa's special tokens and its pairs."""
    tokenizer = read_files(roberta)
    save_tokenizer(tokenizer, tmp_path)
    loaded = transformers.AutoTokenizer.from_pretrained(tmp_path)
    plain = [line for line in lines if "<" not in line]
    ids = encode(load_tokenizer(tmp_path), pa.array(plain)).to_pylist()
    assert [loaded(line, add_special_tokens=False)["input_ids"] for line in plain] == ids
    assert loaded("a", "b")["input_ids"] == [0, *loaded("a", add_special_tokens=False)["input_ids"], 2, 2,
                                             *loaded("b", add_special_tokens=False)["input_ids"], 2]  # fmt: skip
    assert [getattr(loaded, f"{name}_id") for name in SPECIAL_TOKENS] == [0, 1, 2, 3, 50264]
    assert loaded("a <mask>", add_special_tokens=False)["input_ids"][-1] == 50264


def test_bytes_are_never_unknown():
    """A vocabulary without merges has the 256 bytes, and any text is decoded from them."""
    smallest = DEFAULTS["bytelevel_bpe"].smallest
    tokenizer = train([pa.array([""])], smallest, False)
    assert tokenizer.get_vocab_size() == smallest
    text = " naïve 中文 😀\u200b"
    assert tokenizer.decode(encode(tokenizer, pa.array([text.strip()])).to_pylist()[0]) == text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("merges.txt", b"#version: 0.2\na b\nabc\n", r"merges\.txt:3: 'abc' is no merge of the vocabulary"),
        ("merges.txt", b"\xff\xfe", r"merges\.txt: not UTF-8"),
        ("merges.txt", b"q z\n", r"merges\.txt:1: 'q z' is no merge"),
        ("vocab.json", b'{"a": "b"}', r"vocab\.json: no vocabulary"),
        ("vocab.json", json.dumps({"a": 0, "b": 1, "ab": 2}).encode(), r"vocab\.json: lacks <s>, <pad>"),
        ("vocab.json", b"{", r"vocab\.json"),
    ],
)
def test_files_that_are_none_are_refused_with_their_place(tmp_path, name, content, message):
    """A line that is no merge, a wrong encoding, an unknown token or a missing special token is an error with its
    place.
    """
    vocab = {token: number for number, token in enumerate([*SPECIAL_TOKENS.values(), "a", "b", "ab"])}
    (tmp_path / "vocab.json").write_text(json.dumps(vocab))
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b\n")
    assert read_files(tmp_path).encode("ab", add_special_tokens=False).tokens
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_files(tmp_path)
