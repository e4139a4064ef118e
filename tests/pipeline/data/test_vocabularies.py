"""Vocabularies are compared by the meaning of their ids, and not by their sizes or files."""

import json

import pytest
from samples import write_tokenizer

from pipeline.data.vocabularies import check_same_vocabulary, first_difference, read_vocabulary


@pytest.fixture
def tokenizer(tmp_path):
    """A tokenizer directory with tokenizer.json, tokenizer_config.json and vocab.txt, of 40 tokens."""
    write_tokenizer(tmp_path / "tokenizer", 40)
    return tmp_path / "tokenizer"


def difference(theirs, ours):
    return first_difference(read_vocabulary(theirs), read_vocabulary(ours))


def copied(source, target, **files):
    """Return a tokenizer directory with some files of another one, whose text is changed by functions."""
    target.mkdir()
    for name, change in files.items():
        name = name.replace("_json", ".json").replace("_txt", ".txt")
        (target / name).write_text(change((source / name).read_text()))
    return target


def same(text):
    return text


def test_every_form_of_a_vocabulary_is_the_same(tokenizer, tmp_path):
    """tokenizer.json, with any indentation, and vocab.txt with its settings are the same vocabulary."""
    wide = copied(tokenizer, tmp_path / "wide", tokenizer_json=lambda text: json.dumps(json.loads(text), indent=7))
    lines = copied(tokenizer, tmp_path / "lines", vocab_txt=same, tokenizer_config_json=same)
    assert difference(tokenizer, wide) == difference(lines, tokenizer) == difference(lines, wide) == ""


def test_the_first_token_that_differs_is_named(tokenizer, tmp_path):
    """The first token that differs is named, in vocabularies of the same size and in a shorter one."""
    swapped = copied(
        tokenizer,
        tmp_path / "swapped",
        vocab_txt=lambda text: text.replace("w9\n", "bread\n"),
        tokenizer_config_json=same,
    )
    assert difference(swapped, tokenizer) == "token 14 is 'bread' there and 'w9' here"
    shorter = copied(tokenizer, tmp_path / "shorter", vocab_txt=lambda text: text[: text.index("w33")])
    assert difference(tokenizer, shorter) == "token 38 is 'w33' there and none of 38 here"


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("do_lower_case", False, "normalizer lowercase is True there and False here"),
        ("strip_accents", False, "normalizer strip_accents is True there and False here"),
        ("tokenize_chinese_chars", False, "normalizer handle_chinese_chars is True there and False here"),
        ("strip_accents", True, ""),
    ],
)
def test_case_and_accents_count(tokenizer, tmp_path, setting, value, expected):
    """Vocabularies with the same tokens differ if their normalisation differs; an unset option has its default."""

    def changed(text):
        return json.dumps(json.loads(text) | {setting: value})

    other = copied(tokenizer, tmp_path / "other", vocab_txt=same, tokenizer_config_json=changed)
    assert difference(tokenizer, other) == expected


def test_of_a_token_that_occurs_twice_the_last_line_counts(tokenizer, tmp_path):
    """Of a repeated token the last line counts. Lines are divided as in transformers, so that a line separator of
    Unicode is part of a token.
    """
    twice = copied(tokenizer, tmp_path / "twice", vocab_txt=lambda text: text + "a\u2028b\nw9\n")
    tokens = read_vocabulary(twice).tokens
    assert (14 in tokens, tokens[40], tokens[41]) == (False, "a\u2028b", "w9")


def test_unigram_pieces_are_numbered_by_their_order(tmp_path):
    """Unigram tokens are numbered in their order, as in SentencePiece, and added tokens by their stated ids."""
    content = {"model": {"vocab": [["<pad>", 0], ["a", -1.5]]}, "added_tokens": [{"id": 2, "content": "[MASK]"}]}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    assert read_vocabulary(tmp_path).tokens == {0: "<pad>", 1: "a", 2: "[MASK]"}


@pytest.mark.parametrize("content", ["[]", "{}", '{"model": {"vocab": {"a": "b"}}}', '{"model": {"vocab": [1]}}', "{"])
def test_a_damaged_file_is_named(tmp_path, content):
    """A file that is no JSON, or JSON of another structure, is an error that names it."""
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ValueError, match=r"tokenizer\.json: "):
        read_vocabulary(tmp_path)


def test_the_error_names_the_remedy(tokenizer, tmp_path):
    """For another vocabulary the remedy is samples with the checkpoint's tokens; for embeddings without tokens, another
    checkpoint.
    """
    checkpoint, samples = tmp_path / "step-00000009", tmp_path / "samples"
    for directory in (checkpoint, samples):
        directory.mkdir()
    copied(tokenizer, checkpoint / "tokenizer", tokenizer_json=same)
    check_same_vocabulary(checkpoint, 40, samples, tokenizer, 40)
    with pytest.raises(ValueError, match=r"has 48 embeddings, but the vocabulary of data.samples = .* has 40 tokens"):
        check_same_vocabulary(checkpoint, 48, samples, tokenizer, 40)
    cased = copied(tokenizer, tmp_path / "cased", tokenizer_json=lambda text: text.replace("w9", "W9"))
    with pytest.raises(ValueError, match=r"init_from = .*step-00000009: .* with --vocab .*step-00000009/tokenizer"):
        check_same_vocabulary(checkpoint, 40, samples, cased, 40)
    with pytest.raises(ValueError, match=r"holds none of tokenizer.json, vocab.txt, vocab.json"):
        check_same_vocabulary(samples, 40, samples, cased, 40)
