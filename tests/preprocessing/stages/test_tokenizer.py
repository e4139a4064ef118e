"""Laws of preprocessing/stages/tokenizer.py."""

import json

import pytest

from preprocessing.errors import DataError
from preprocessing.files import read_json, sha256_file
from preprocessing.filters import FilterConfig
from preprocessing.stages.extract import ExtractConfig, extract
from preprocessing.stages.tokenizer import TokenizerConfig, prepare_tokenizer
from preprocessing.tokenizer.normalization import settings_of
from preprocessing.tokenizer.registry import KINDS, special_id
from preprocessing.tokenizer.saving import load_tokenizer, tokenizer_files
from preprocessing.tokenizer.wordpiece import SPECIAL_TOKENS, read_vocabulary
from preprocessing.workers import SerialExecutor

SPECIAL = list(SPECIAL_TOKENS.values())


def content(directory):
    """Return the tokenizer's files."""
    return [(path.name, path.read_bytes()) for path in tokenizer_files(directory)]


def test_a_vocabulary_is_trained_on_the_documents(tmp_path, corpus):
    """A trained vocabulary has the wanted size, its special tokens first, and a manifest with its checksum; training
    again does nothing.
    """
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
    """vocab.txt, and the directory made of it, give the same tokenizer to the byte, and no documents are needed."""
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL, "a", "##b"]) + "\n")
    for vocab, out in (("vocab.txt", "first"), ("first", "second")):
        prepare_tokenizer(tmp_path / out, TokenizerConfig(tmp_path / vocab), tmp_path / "none")
    assert content(tmp_path / "first") == content(tmp_path / "second")


def test_a_cased_tokenizer_is_not_taken_for_an_uncased_one(tmp_path):
    """A directory states whether it lower-cases, and the option must agree or be left out."""
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL, "a"]) + "\n")
    prepare_tokenizer(tmp_path / "cased", TokenizerConfig(tmp_path / "vocab.txt", lower_case=False), tmp_path)
    with pytest.raises(DataError, match=r"lower_case = True: .*; leave the option out"):
        prepare_tokenizer(tmp_path / "out", TokenizerConfig(tmp_path / "cased", lower_case=True), tmp_path)
    prepare_tokenizer(tmp_path / "out", TokenizerConfig(tmp_path / "cased"), tmp_path)
    assert content(tmp_path / "out") == content(tmp_path / "cased")


def test_an_altered_vocabulary_is_noticed(tmp_path):
    """A vocabulary that has changed is an error, since the directory has the checksum of the earlier one."""
    vocab = tmp_path / "vocab.txt"
    vocab.write_text("\n".join([*SPECIAL, "a"]) + "\n")
    prepare_tokenizer(tmp_path / "out", TokenizerConfig(vocab), tmp_path)
    vocab.write_text("\n".join([*SPECIAL, "b"]) + "\n")
    with pytest.raises(DataError, match="vocab_sha256 was"):
        prepare_tokenizer(tmp_path / "out", TokenizerConfig(vocab), tmp_path)


def test_a_missing_vocabulary_and_silly_options_are_refused(tmp_path):
    """The error for a missing vocabulary, or an option out of range, names the path or the field."""
    with pytest.raises(DataError, match=r"--vocab = .*none: no such file or directory; give a vocab"):
        prepare_tokenizer(tmp_path / "out", TokenizerConfig(tmp_path / "none"), tmp_path)
    with pytest.raises(ValueError, match="vocab_size = 50: must be at least 100"):
        TokenizerConfig(vocab_size=50)
    with pytest.raises(ValueError, match="train_mb = 0"):
        TokenizerConfig(train_mb=0)
    with pytest.raises(ValueError, match="kind = 'bpe': must be one of wordpiece, bytelevel_bpe, unigram"):
        TokenizerConfig(kind="bpe")
    with pytest.raises(ValueError, match="lower_case = True: has no effect with bytelevel_bpe"):
        TokenizerConfig(kind="bytelevel_bpe", lower_case=True)


@pytest.mark.parametrize("kind", ["bytelevel_bpe", "unigram"])
def test_other_kinds_are_trained_and_given_too(tmp_path, corpus, kind):
    """Other kinds have their own special tokens first; their directory, given again, is the same, and is refused as
    another kind.
    """
    documents = tmp_path / "documents"
    extract(documents, ExtractConfig([f"jsonl:{corpus}"], heldout_share=0.1), FilterConfig(), SerialExecutor())
    prepare_tokenizer(tmp_path / "trained", TokenizerConfig(kind=kind, vocab_size=400), documents)
    tokenizer = load_tokenizer(tmp_path / "trained")
    special = KINDS[kind].special_tokens
    assert [special_id(tokenizer, name) for name in special] == [0, 1, 2, 3, 4]
    assert 200 < tokenizer.get_vocab_size() <= 400
    prepare_tokenizer(tmp_path / "given", TokenizerConfig(tmp_path / "trained"), tmp_path)
    assert content(tmp_path / "given") == content(tmp_path / "trained")
    with pytest.raises(DataError, match=f"kind = wordpiece: the vocabulary is of kind {kind}"):
        prepare_tokenizer(tmp_path / "other", TokenizerConfig(tmp_path / "trained", kind="wordpiece"), tmp_path)


def extracted(folder, texts, **config):
    """Return a documents directory of these texts."""
    write_jsonl = folder / "in.jsonl"
    write_jsonl.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    config = ExtractConfig([f"jsonl:{write_jsonl}"], heldout_share=0, **config)
    extract(folder / "documents", config, FilterConfig(), SerialExecutor())
    return folder / "documents"


@pytest.mark.parametrize("kind", ["wordpiece", "unigram"])
def test_marks_that_spell_are_kept_by_default_and_it_is_told(tmp_path, caplog, kind):
    """Hindi keeps its vowel signs though text is lower-cased, with a note; an option removes them, with a warning."""
    documents = extracted(tmp_path, [f"मैं {number} घर में हूँ, और वह नहीं। Rome." for number in range(200)])
    caplog.set_level("INFO")
    prepare_tokenizer(tmp_path / "kept", TokenizerConfig(kind=kind, vocab_size=100), documents)
    assert settings_of(load_tokenizer(tmp_path / "kept")).strip_accents is False
    assert "accents and marks are kept: " in caplog.text and "the normalizer removes" not in caplog.text
    caplog.clear()
    prepare_tokenizer(tmp_path / "gone", TokenizerConfig(kind=kind, vocab_size=100, strip_accents=True), documents)
    assert settings_of(load_tokenizer(tmp_path / "gone")).strip_accents is True
    assert "the normalizer removes" in caplog.text
    (note,) = [note for note in read_json(tmp_path / "gone" / "report.json")["notes"] if "removes" in note]
    assert "U+0902 -> nothing" in note


def test_a_missed_size_is_told_and_reported(tmp_path, caplog):
    """A vocabulary smaller than asked for, and a coverage for which there is no room, are printed and in
    report.json.
    """
    text = " ".join(chr(0x4E00 + number) for number in range(400))
    documents = extracted(tmp_path, [text, *("中 丁" for _ in range(50))])
    caplog.set_level("INFO")
    prepare_tokenizer(tmp_path / "all", TokenizerConfig(vocab_size=30_522), documents)
    assert "405 tokens, fewer than vocab_size = 30,522" in caplog.text and "each Chinese one is a word" in caplog.text
    assert read_json(tmp_path / "all" / "report.json")["known_characters"] == 400
    prepare_tokenizer(tmp_path / "few", TokenizerConfig(vocab_size=105), documents)
    report = read_json(tmp_path / "few" / "report.json")
    assert report["known_characters"] == 100 and 0.2 < report["covered_share"] < 0.3
    assert "has room for 100 of the text's 400 characters" in report["notes"][0]


def test_a_given_vocabulary_is_tried_on_the_documents(tmp_path, caplog):
    """The characters that the normalizer of a given vocabulary removes from the documents are reported."""
    documents = extracted(tmp_path, ["がががが あ. Good."] * 3)
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL, "か", "あ"]) + "\n")
    prepare_tokenizer(tmp_path / "out", TokenizerConfig(tmp_path / "vocab.txt"), documents)
    assert "が -> か" in caplog.text


def test_a_given_vocabulary_must_have_the_size_that_is_asked_for(tmp_path):
    """A given vocabulary must have the size of the option, and options of training are errors, since they would be
    ignored.
    """
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL, *(f"a{number}" for number in range(100))]) + "\n")
    with pytest.raises(DataError, match=r"vocab\.txt: vocab_size = 200: the vocabulary has 105 tokens"):
        prepare_tokenizer(tmp_path / "out", TokenizerConfig(tmp_path / "vocab.txt", vocab_size=200), tmp_path)
    prepare_tokenizer(tmp_path / "out", TokenizerConfig(tmp_path / "vocab.txt", vocab_size=105), tmp_path)
    for option in ({"character_coverage": 0.9}, {"train_mb": 5}):
        with pytest.raises(ValueError, match=f"{next(iter(option))} = .*: has no effect with vocab"):
            TokenizerConfig(tmp_path / "vocab.txt", **option)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_mb": float("nan")}, "train_mb = nan"),
        ({"character_coverage": 0.0}, "character_coverage = 0.0: must be above 0"),
        ({"character_coverage": 99.95}, "must be above 0 and at most 1: a share"),
        ({"kind": "wordpeice"}, "did you mean 'wordpiece'"),
        ({"kind": "bytelevel_bpe", "strip_accents": True}, "strip_accents = True: has no effect with bytelevel_bpe"),
        (
            {"kind": "bytelevel_bpe", "character_coverage": 0.9},
            "character_coverage = 0.9: has no effect with bytelevel_bpe",
        ),
    ],
)
def test_options_that_mean_nothing_are_refused(options, message):
    """An option without effect, or out of range, is an error with its rule."""
    with pytest.raises(ValueError, match=message):
        TokenizerConfig(**options)
