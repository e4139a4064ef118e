"""Laws of preprocessing/tokenizer/given.py: the normalisation of text for a vocabulary that does not state it."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
import transformers

from preprocessing.errors import DataError
from preprocessing.tokenizer.encoding import encode
from preprocessing.tokenizer.given import identity, read_given, read_tokenizer
from preprocessing.tokenizer.normalization import Settings, settings_of
from preprocessing.tokenizer.saving import save_tokenizer
from preprocessing.tokenizer.wordpiece import SPECIAL_TOKENS, make_tokenizer

SHARED = Path(__file__).parents[4] / "shared" / "data" / "vocab"
SPECIAL = [*SPECIAL_TOKENS.values(), "[unused1]"]
LOWER = [f"{first}{second}" for first in "abcdefghijkl" for second in "mnopqrstuvwx"]
CASED = [token.capitalize() for token in LOWER[:40]]
UNCASED, KEPT = Settings(True, True), Settings(False, False)


def write(folder, tokens, **config):
    """Write a vocab.txt, and a tokenizer_config.json if there are settings."""
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in [*SPECIAL, *tokens]))
    if config:
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder / "vocab.txt"


@pytest.mark.parametrize(
    ("tokens", "config", "options", "expected", "note"),
    [
        (LOWER, {}, (), UNCASED, ""),
        (LOWER + CASED, {}, (), KEPT, "of the tokens have upper case, so text keeps its case"),
        ([*LOWER, "में", "मैं"], {}, (), Settings(True, False), "have accents or marks, so text keeps them"),
        (LOWER, {"do_lower_case": False}, (), KEPT, "no token has upper case"),
        (LOWER + CASED, {"do_lower_case": True}, (), UNCASED, "40 of 184 tokens never occur, such as 'Am', 'An', 'Ao'"),
        (LOWER, {"strip_accents": False}, (), Settings(True, False), ""),
        (LOWER, {"tokenize_chinese_chars": False}, (), Settings(True, True, False), ""),
        (LOWER, {"model_max_length": 512}, (), UNCASED, ""),
        (LOWER, {"do_lower_case": False}, (True,), UNCASED, "the options take precedence: lower_case True"),
        (LOWER + CASED, {}, (True,), UNCASED, "40 of 184 tokens never occur"),
        (LOWER, {}, (False,), KEPT, "no token has upper case"),
        (LOWER, {}, (None, False), Settings(True, False), ""),
        (["中", "国"], {}, (False,), KEPT, ""),
    ],
)
def test_options_then_the_file_beside_it_then_the_tokens_decide(tmp_path, tokens, config, options, expected, note):
    """An option, the file beside the vocabulary, and the tokens decide in this order, and a contradiction to the tokens
    is noted.
    """
    given = read_given(write(tmp_path, tokens, **config), *options)
    assert settings_of(given.tokenizer) == expected
    assert note in " ".join(given.notes) and len(given.notes) == bool(note)


def test_a_cased_vocabulary_finds_its_words(tmp_path):
    """Without any option, text with upper case has the tokens of transformers' cased tokenizer."""
    path = write(tmp_path, ["France", "f", "##rance", *CASED])
    ids = encode(read_tokenizer(path), pa.array(["France f"])).to_pylist()
    reference = transformers.BertTokenizer.from_pretrained(tmp_path, do_lower_case=False)
    assert ids == reference(["France f"], add_special_tokens=False)["input_ids"] == [[6, 7]]


def test_a_directory_with_a_vocabulary_file_is_one(tmp_path):
    """A directory with vocab.txt and tokenizer_config.json and without tokenizer.json, as of older models, is a
    tokenizer.
    """
    path = write(tmp_path, LOWER, do_lower_case=False)
    assert read_tokenizer(tmp_path).to_str() == read_tokenizer(path).to_str()
    assert identity(tmp_path) == identity(path)
    path.unlink()
    with pytest.raises(DataError, match="holds no vocabulary; give a vocab"):
        read_tokenizer(tmp_path)


def test_repeated_tokens_are_told_once(tmp_path):
    """Repeated tokens are one note with the first of them, its lines and the line that counts."""
    (note,) = read_given(write(tmp_path, [*LOWER, "am", "an"])).notes
    assert "2 tokens stand on several lines, such as 'am' on 7 and 151; the last line counts" in note


@pytest.mark.parametrize("value", ["no", 1, [True]])
def test_a_setting_that_is_neither_true_nor_false_is_an_error(tmp_path, value):
    """A setting that is neither true nor false is an error with the file and the key."""
    with pytest.raises(DataError, match=r"tokenizer_config\.json: do_lower_case is .*, expected true, false or null"):
        read_given(write(tmp_path, LOWER, do_lower_case=value))


def test_two_files_that_contradict_each_other_are_an_error(tmp_path):
    """Two files that contradict each other are an error, since transformers follows tokenizer_config.json; an option
    decides for either.
    """
    save_tokenizer(make_tokenizer(SPECIAL + LOWER, lower_case=True), tmp_path)
    config = tmp_path / "tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"do_lower_case": False}))
    with pytest.raises(DataError, match=r"tokenizer\.json has lower_case True.* has lower_case False.*make the two"):
        read_given(tmp_path)
    assert settings_of(read_tokenizer(tmp_path, True)) == UNCASED
    tokenizer = read_tokenizer(tmp_path, False)
    assert settings_of(tokenizer) == KEPT
    reference = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert (
        encode(tokenizer, pa.array(["Am am"])).to_pylist()[0] == reference("Am am", add_special_tokens=False).input_ids
    )


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared vocabularies are not here")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bert-base-uncased-vocab.txt", UNCASED),
        ("bert-base-cased-vocab.txt", KEPT),
        ("albert-spiece.model", Settings(True, True, False)),
    ],
)
def test_published_vocabularies_are_known_by_their_tokens(name, expected):
    """The settings of published vocabularies, which follow from their tokens, are those with which they were made."""
    assert settings_of(read_tokenizer(SHARED / name)) == expected
