"""Laws of preprocessing/stages/vocabulary.py."""

import pytest

from preprocessing.errors import DataError
from preprocessing.files import read_json, sha256_file
from preprocessing.filters import FilterConfig
from preprocessing.stages.extract import ExtractConfig, extract
from preprocessing.stages.vocabulary import TokenizerConfig, prepare_tokenizer
from preprocessing.tokenizer import SPECIAL_TOKENS, TOKENIZER_FILES, read_vocabulary
from preprocessing.workers import SerialExecutor

SPECIAL = list(SPECIAL_TOKENS.values())


def content(directory):
    """The tokenizer's files."""
    return [(directory / name).read_bytes() for name in TOKENIZER_FILES]


def test_a_vocabulary_is_trained_on_the_documents(tmp_path, corpus):
    """It has the wanted size, its special tokens first, and a manifest with its checksum; training twice is a no-op."""
    documents = tmp_path / "documents"
    extract(documents, ExtractConfig([f"jsonl:{corpus}"], heldout_share=0.1), FilterConfig(), SerialExecutor())
    prepare_tokenizer(tmp_path / "tokenizer", TokenizerConfig(vocab_size=200), documents)
    tokens = read_vocabulary(tmp_path / "tokenizer" / "vocab.txt")
    assert len(tokens) == 200 and tokens[:5] == SPECIAL
    assert read_json(tmp_path / "tokenizer" / "manifest.json") == {
        "vocab_size": 200,
        "tokenizer_sha256": sha256_file(tmp_path / "tokenizer" / "tokenizer.json"),
    }
    before = content(tmp_path / "tokenizer")
    prepare_tokenizer(tmp_path / "tokenizer", TokenizerConfig(vocab_size=200), documents)
    assert content(tmp_path / "tokenizer") == before
    with pytest.raises(DataError, match="vocab_size was 200, is 300"):
        prepare_tokenizer(tmp_path / "tokenizer", TokenizerConfig(vocab_size=300), documents)


def test_a_vocabulary_and_its_tokenizer_directory_are_the_same(tmp_path):
    """Given vocab.txt, or the directory made of it, the tokenizer is the same to the byte; no documents are needed."""
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL, "a", "##b"]) + "\n")
    for vocab, out in (("vocab.txt", "first"), ("first", "second")):
        prepare_tokenizer(tmp_path / out, TokenizerConfig(tmp_path / vocab), tmp_path / "none")
    assert content(tmp_path / "first") == content(tmp_path / "second")


def test_a_cased_tokenizer_is_not_taken_for_an_uncased_one(tmp_path):
    """A directory says itself whether it lower-cases; the option must agree."""
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL, "a"]) + "\n")
    prepare_tokenizer(tmp_path / "cased", TokenizerConfig(tmp_path / "vocab.txt", lower_case=False), tmp_path)
    with pytest.raises(DataError, match="but lower_case is True; add --lower_case false"):
        prepare_tokenizer(tmp_path / "out", TokenizerConfig(tmp_path / "cased"), tmp_path)


def test_an_altered_vocabulary_is_noticed(tmp_path):
    """The checksum of the vocabulary belongs to what made the directory."""
    vocab = tmp_path / "vocab.txt"
    vocab.write_text("\n".join([*SPECIAL, "a"]) + "\n")
    prepare_tokenizer(tmp_path / "out", TokenizerConfig(vocab), tmp_path)
    vocab.write_text("\n".join([*SPECIAL, "b"]) + "\n")
    with pytest.raises(DataError, match="vocab_sha256 was"):
        prepare_tokenizer(tmp_path / "out", TokenizerConfig(vocab), tmp_path)


def test_a_missing_vocabulary_and_silly_options_are_refused(tmp_path):
    """The messages name path or field."""
    with pytest.raises(DataError, match="none: no such file or directory; --vocab takes"):
        prepare_tokenizer(tmp_path / "out", TokenizerConfig(tmp_path / "none"), tmp_path)
    with pytest.raises(ValueError, match="vocab_size is 50, must be at least 100"):
        TokenizerConfig(vocab_size=50)
    with pytest.raises(ValueError, match="train_mb is 0"):
        TokenizerConfig(train_mb=0)
