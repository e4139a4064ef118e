"""Laws of preprocessing/tokenizer/saving.py; loading by transformers is tested beside each kind."""

import json

import pyarrow as pa
import pytest

from preprocessing.errors import DataError
from preprocessing.tokenizer.encoding import encode
from preprocessing.tokenizer.given import read_tokenizer
from preprocessing.tokenizer.normalization import settings_of
from preprocessing.tokenizer.registry import KINDS
from preprocessing.tokenizer.saving import load_tokenizer, save_tokenizer

TEXT = pa.array(["the cat sat on the mat", "a café in Rome"] * 20)


@pytest.mark.parametrize("name", KINDS)
def test_a_saved_tokenizer_is_read_back(tmp_path, name):
    """A saved tokenizer of any kind is read as it was, with equal ids, and saving twice gives equal files."""
    kind = KINDS[name]
    tokenizer = kind.train([TEXT], 300, kind.lower_case)
    save_tokenizer(tokenizer, tmp_path)
    again = read_tokenizer(tmp_path, None)
    assert again.to_str() == tokenizer.to_str()
    assert encode(again, TEXT).equals(encode(tokenizer, TEXT))
    assert settings_of(again).lower_case == kind.lower_case
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    save_tokenizer(again, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    with pytest.raises(DataError, match="leave the option out"):
        read_tokenizer(tmp_path, not kind.lower_case)


def test_a_tokenizer_without_the_leading_space_gets_it(tmp_path):
    """A published byte-level tokenizer without the leading space gets it, since samples join sentences with it."""
    save_tokenizer(KINDS["bytelevel_bpe"].train([TEXT], 300, False), tmp_path)
    path = tmp_path / "tokenizer.json"
    record = json.loads(path.read_text())
    record["pre_tokenizer"]["add_prefix_space"] = False
    path.write_text(json.dumps(record))
    assert load_tokenizer(tmp_path).encode("the", add_special_tokens=False).tokens[0][0] == "Ġ"


def test_another_kind_of_tokenizer_is_refused(tmp_path):
    """A tokenizer that cannot encode word by word is an error."""
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"type": "BPE"}, "pre_tokenizer": None}))
    with pytest.raises(DataError, match=r"tokenizer\.json: .*'BPE', None, None.* reads wordpiece: \('WordPiece'"):
        load_tokenizer(tmp_path)
    with pytest.raises(DataError, match=r"tokenizer\.json: missing"):
        load_tokenizer(tmp_path / "none")
    with pytest.raises(DataError, match=r"--vocab = .*none: no such file or directory; give a vocab\.txt"):
        read_tokenizer(tmp_path / "none", None)
