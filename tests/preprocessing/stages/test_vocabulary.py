"""Laws of preprocessing/stages/vocabulary.py."""

import pytest

from preprocessing.errors import DataError
from preprocessing.files import read_json, sha256_file
from preprocessing.filters import FilterConfig
from preprocessing.stages.extract import ExtractConfig, extract
from preprocessing.stages.vocabulary import TokenizerConfig, prepare_tokenizer
from preprocessing.tokenizer.registry import KINDS, special_id
from preprocessing.tokenizer.saving import load_tokenizer, tokenizer_files
from preprocessing.tokenizer.wordpiece import SPECIAL_TOKENS, read_vocabulary
from preprocessing.workers import SerialExecutor

SPECIAL = list(SPECIAL_TOKENS.values())


def content(directory):
    """The tokenizer's files."""
    return [(path.name, path.read_bytes()) for path in tokenizer_files(directory)]


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
    """A directory says itself whether it lower-cases; the option must agree, or be left out."""
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL, "a"]) + "\n")
    prepare_tokenizer(tmp_path / "cased", TokenizerConfig(tmp_path / "vocab.txt", lower_case=False), tmp_path)
    with pytest.raises(DataError, match="but lower_case is True; leave the option out"):
        prepare_tokenizer(tmp_path / "out", TokenizerConfig(tmp_path / "cased", lower_case=True), tmp_path)
    prepare_tokenizer(tmp_path / "out", TokenizerConfig(tmp_path / "cased"), tmp_path)
    assert content(tmp_path / "out") == content(tmp_path / "cased")


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
    with pytest.raises(ValueError, match="vocab_size = 50: must be at least 100"):
        TokenizerConfig(vocab_size=50)
    with pytest.raises(ValueError, match="train_mb = 0"):
        TokenizerConfig(train_mb=0)
    with pytest.raises(ValueError, match="kind = 'bpe': must be one of wordpiece, bytelevel_bpe, unigram"):
        TokenizerConfig(kind="bpe")
    with pytest.raises(ValueError, match="lower_case is True, but bytelevel_bpe works on bytes"):
        TokenizerConfig(kind="bytelevel_bpe", lower_case=True)


@pytest.mark.parametrize("kind", ["bytelevel_bpe", "unigram"])
def test_other_kinds_are_trained_and_given_too(tmp_path, corpus, kind):
    """With their own special tokens first; the directory given again is the same, and refused as another kind."""
    documents = tmp_path / "documents"
    extract(documents, ExtractConfig([f"jsonl:{corpus}"], heldout_share=0.1), FilterConfig(), SerialExecutor())
    prepare_tokenizer(tmp_path / "trained", TokenizerConfig(kind=kind, vocab_size=400), documents)
    tokenizer = load_tokenizer(tmp_path / "trained")
    special = KINDS[kind].special_tokens
    assert [special_id(tokenizer, name) for name in special] == [0, 1, 2, 3, 4]
    assert 200 < tokenizer.get_vocab_size() <= 400
    prepare_tokenizer(tmp_path / "given", TokenizerConfig(tmp_path / "trained"), tmp_path)
    assert content(tmp_path / "given") == content(tmp_path / "trained")
    with pytest.raises(DataError, match=f"is of kind {kind}, but kind is wordpiece"):
        prepare_tokenizer(tmp_path / "other", TokenizerConfig(tmp_path / "trained", kind="wordpiece"), tmp_path)
