"""New words begin with the mean of their pieces, in embeddings, bias and tokenizer alike."""

import json

import pytest
import torch
import transformers
from pretrained_models import VOCABULARY, bert, saved

from pipeline.checkpoints import checkpoint
from pipeline.conversion import vocabulary
from pipeline.conversion.extending import extend_vocabulary, with_means
from pipeline.conversion.importing import ImportOptions, import_pretrained
from pipeline.convert import convert

WORDS, BIAS = "encoder.embeddings.word.weight", "mlm_head.decoder.bias"


@pytest.fixture
def source(tmp_path):
    """An imported checkpoint."""
    saved(bert(), tmp_path / "model")
    import_pretrained(tmp_path / "model", tmp_path / "source", ImportOptions())
    return tmp_path / "source"


@pytest.fixture
def listed(tmp_path):
    """A function that writes a list of words, and returns its file."""

    def write(*words):
        (tmp_path / "words.txt").write_text("\n".join(words) + "\n")
        return tmp_path / "words.txt"

    return write


def test_new_words_are_means_of_their_pieces(source, listed, tmp_path, capsys):
    """Rows of the embeddings and the bias are the means over the pieces, other tensors are the same, the tokenizer
    finds the words, and the lines name what was present and what has no known piece.
    """
    words = listed("Cats", "dog", "doggys", "", "xyz")
    convert(["extend", str(source), str(tmp_path / "new"), "--words", str(words)])
    lines = capsys.readouterr().out.splitlines()
    assert "added words: 3; the vocabulary has 14 tokens now" in lines
    assert "already in the vocabulary: dog" in lines and "begin as the unknown token: xyz" in lines
    assert f'init_from = "{tmp_path / "new"}"' in lines
    checkpoint.verify(tmp_path / "new")
    before, after = (dict(checkpoint.Reader(path).tensors()) for path in (source, tmp_path / "new"))
    ids = [[VOCABULARY.index(piece) for piece in pieces] for pieces in (("cat", "##s"), ("dog", "##gy", "##s"))]
    for name in before:
        assert torch.equal(after[name][: len(before[name])], before[name])
        if name in (WORDS, BIAS):
            for row, pieces in zip((11, 12), ids, strict=True):
                assert torch.allclose(after[name][row], before[name][pieces].mean(0), atol=1e-6)
            assert torch.equal(after[name][13], before[name][1])
        else:
            assert after[name].shape == before[name].shape
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "new" / "tokenizer")
    assert tokenizer.tokenize("The cats doggys xyz sats") == ["the", "cats", "doggys", "xyz", "sat", "##s"]
    assert checkpoint.read_state(tmp_path / "new")["vocab_size"] == 14


def test_an_extended_checkpoint_is_exported(source, listed, tmp_path):
    """The export of an extended checkpoint has its tokenizer and its rows."""
    extend_vocabulary(source, tmp_path / "new", listed("cats"))
    convert(["export", str(tmp_path / "new"), str(tmp_path / "out")])
    model = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "out")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert model.get_input_embeddings().weight.shape[0] == len(tokenizer) == 12


def test_one_piece_keeps_its_vector():
    """The mean of one row is the row itself, bit for bit."""
    rows = torch.randn(3, 4)
    assert torch.equal(with_means(rows, [[1]])[3], rows[1])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["cat"], "holds no word that .* lacks"),
        (["ice-cream"], r"'ice-cream' is never one token \(ice - cream\); give words without spaces and punctuation"),
        (["two words"], "'two words' is never one token"),
        (["x" * 101], r"is never one token \(101 characters\)"),
    ],
)
def test_words_that_cannot_be_tokens_are_one_error(source, listed, tmp_path, words, message):
    """A word that the tokenizer would never find is an error that names it, and nothing is written."""
    with pytest.raises(ValueError, match=message) as error:
        extend_vocabulary(source, tmp_path / "new", listed(*words))
    assert "\n" not in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "source", "words.txt"]


def test_damage_is_one_error(source, listed, tmp_path):
    """A missing list, an existing target, another kind of tokenizer and rows without tokens are errors."""

    words = listed("cats")

    def fails(message, *, words=words, out=tmp_path / "new"):
        with pytest.raises(ValueError, match=message):
            extend_vocabulary(source, out, words)

    fails("nowhere: no such file", words=tmp_path / "nowhere")
    fails("exists", out=source)
    (tmp_path / "latin").write_bytes(b"\xff\xfe\xfd")
    fails("not valid UTF-8", words=tmp_path / "latin")
    tokenizer = source / "tokenizer"
    vocabulary.append(tokenizer, ["more"])
    manifest = json.loads((source / "manifest.json").read_text())
    for path in tokenizer.iterdir():
        manifest["files"][f"tokenizer/{path.name}"] = checkpoint.manifest_entry(path)
    (source / "manifest.json").write_text(json.dumps(manifest))
    fails("the tokenizer has 12 tokens, the model 11 rows")
