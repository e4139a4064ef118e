"""The tokenizer of an imported model keeps its tokens, and new tokens get the ids behind them."""

import json

import pytest
import transformers
from pretrained_models import VOCABULARY, write_vocabulary
from samples import write_tokenizer

from pipeline.conversion import vocabulary
from pipeline.conversion.layouts.base import Source
from pipeline.data.vocabularies import read_vocabulary


def adopted(directory, target):
    """Adopt the tokenizer of a BERT in a directory; returns the notes."""
    target.mkdir()
    source = Source(directory, {}, {}, dict, directory)
    return vocabulary.adopt(source, target, "bert", 32)


@pytest.mark.parametrize(("words", "lower"), [(["the", "cat"], True), (["The", "cat"], False)])
def test_a_vocabulary_alone_states_its_case(tmp_path, words, lower):
    """A vocab.txt without settings is taken as cased if tokens have upper case, and a note says so."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "vocab.txt").write_text("\n".join([*VOCABULARY[:5], *words]) + "\n")
    notes = adopted(tmp_path / "model", tmp_path / "new")
    assert len(notes) == 1 and ("lower case" if lower else "cased") in notes[0]
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "new")
    assert tokenizer.tokenize("The cat") == (["the", "cat"] if lower else ["The", "cat"])
    assert tokenizer.model_max_length == 32 and not (tmp_path / "new" / "config.json").exists()


def test_settings_are_kept(tmp_path):
    """What the tokenizer's own settings state is kept, without a note."""
    write_vocabulary(tmp_path / "model")
    settings = {"do_lower_case": False, "tokenizer_class": "BertTokenizer"}
    (tmp_path / "model" / "tokenizer_config.json").write_text(json.dumps(settings))
    assert adopted(tmp_path / "model", tmp_path / "new") == ()
    written = json.loads((tmp_path / "new" / "tokenizer_config.json").read_text())
    assert written == settings | {"model_max_length": 32}


def test_new_tokens_follow_in_all_files(tmp_path):
    """tokenizer.json and vocab.txt get the same new ids, and transformers finds a new word whole."""
    write_tokenizer(tmp_path / "t", 60)
    vocabulary.append(tmp_path / "t", ["heparin", "w1x"])
    assert vocabulary.size(tmp_path / "t") == 62
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "t")
    assert tokenizer.tokenize("Heparin w1") == ["heparin", "w1"] and tokenizer.convert_tokens_to_ids("w1x") == 61
    assert read_vocabulary(tmp_path / "t").tokens[60] == "heparin"
    assert (tmp_path / "t" / "vocab.txt").read_text().split("\n")[60:62] == ["heparin", "w1x"]


def test_placeholders_are_new(tmp_path):
    """Placeholders are named by their rows; a name that the tokenizer has already is an error."""
    write_tokenizer(tmp_path / "t", 60)
    assert vocabulary.placeholders(tmp_path / "t", 2) == ["[unused_row60]", "[unused_row61]"]
    vocabulary.append(tmp_path / "t", ["[unused_row61]"])
    with pytest.raises(ValueError, match=r"already has a token \[unused_row61\]"):
        vocabulary.placeholders(tmp_path / "t", 1)


def test_files_that_disagree_are_not_extended(tmp_path):
    """A vocab.txt with other lines than ids, and a vocabulary of another kind, are errors; no file is changed."""
    write_tokenizer(tmp_path / "t", 60)
    before = (tmp_path / "t" / "tokenizer.json").read_bytes()
    (tmp_path / "t" / "vocab.txt").write_text("a\nb\n")
    with pytest.raises(ValueError, match=r"vocab.txt: has 2 lines, but the tokenizer 60 ids"):
        vocabulary.append(tmp_path / "t", ["x"])
    assert (tmp_path / "t" / "tokenizer.json").read_bytes() == before
