"""An imported model is a checkpoint of step 0."""

import json

import pytest
import torch
from pretrained_models import VOCABULARY, bert, reconfigure, rewrite, saved

from pipeline.checkpoints import checkpoint
from pipeline.conversion.importing import ImportOptions, family_of, import_pretrained, imported_state, unique
from pipeline.data.vocabularies import read_vocabulary
from pipeline.families.bert import BertConfig


def test_tied_parameters_are_kept_once():
    """Of several names of one tensor the first is kept; an equal tensor in other memory is a parameter of its own."""
    weight = torch.ones(2)
    assert list(unique({"a": weight, "b": weight, "c": weight.clone()})) == ["a", "c"]


def test_state_of_an_imported_model():
    """The state of an imported model says that it has trained on nothing, and has the shape of each tensor."""
    config = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    state = imported_state("bert", config, 60, {"a": torch.ones(2, 3)})
    assert (state["step"], state["consumed_samples"], state["optimizer_step"]) == (0, 0, 0)
    assert state["tensors"] == {"a": [2, 3]} and state["model"]["hidden_size"] == 8


def test_nothing_is_overwritten(tmp_path):
    """An existing `out` is an error before the model is read."""
    with pytest.raises(ValueError, match="exists; choose another directory or remove it"):
        import_pretrained(tmp_path / "nowhere", tmp_path, ImportOptions())


@pytest.mark.parametrize(
    ("fields", "family"),
    [
        ({"model_type": "roberta"}, "roberta"),
        ({"model_type": "bert", "family": "spanbert"}, "spanbert"),
        ({}, "bert"),
    ],
)
def test_the_configuration_names_the_family(tmp_path, fields, family):
    """The family follows from the configuration, whose field `family` precedes the class; an older BERT directory
    without model_type is BERT.
    """
    (tmp_path / "config.json").write_text(json.dumps(fields))
    assert family_of(tmp_path) == family


def test_a_model_of_no_family_is_refused(tmp_path):
    """A model of an unknown family is an error that names the file and the known families."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(
        ValueError,
        match=r"config.json: model_type = 'gpt2': must be one of albert, bert, deberta-v2, distilbert, electra, ",
    ):
        family_of(tmp_path)


def test_rows_without_a_token_are_trimmed_or_kept_as_asked(tmp_path):
    """Of a padded vocabulary, rows behind the last token are an error, trimmed, or kept with placeholders; the output
    says which, and embeddings and tokenizer are equally long afterwards.
    """
    model = bert(rows=16)
    directory = saved(model, tmp_path / "model")
    words = model.bert.embeddings.word_embeddings.weight
    with pytest.raises(ValueError, match=r"has 16 rows, but the tokenizer 11 tokens; .*--extra_rows trim .* keep"):
        import_pretrained(directory, tmp_path / "new", ImportOptions())
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    trimmed = import_pretrained(directory, tmp_path / "trimmed", ImportOptions(extra_rows="trim"))
    kept = import_pretrained(directory, tmp_path / "kept", ImportOptions(extra_rows="keep"))
    assert "left out: 5 rows of the word embeddings behind token 10" in trimmed
    assert "kept: 5 rows without a token, which have placeholders in the vocabulary now" in kept
    for name, rows in (("trimmed", 11), ("kept", 16)):
        read = checkpoint.Reader(tmp_path / name)
        assert torch.equal(read.read("weight", "encoder.embeddings.word.weight", 0, rows * 16), words[:rows].flatten())
        assert read.shapes["mlm_head.decoder.bias"] == [rows]
        assert checkpoint.read_state(tmp_path / name)["vocab_size"] == rows
        assert len(read_vocabulary(tmp_path / name / "tokenizer").tokens) == rows
    assert read_vocabulary(tmp_path / "kept" / "tokenizer").tokens[11] == "[unused_row11]"


def test_what_was_new_or_left_out_is_said(tmp_path):
    """The lines about an import name the class, new heads, and fine-tuned heads that were left out."""
    directory = saved(bert("BertForSequenceClassification"), tmp_path / "model")
    first, *lines = import_pretrained(directory, tmp_path / "new", ImportOptions(new_heads=True))
    assert first == f"{directory} (BertForMaskedLM) -> {tmp_path / 'new'}"
    assert any(line.startswith("drawn anew: cls.predictions.decoder.bias, ") for line in lines)
    assert any(line.startswith("left out: bert.pooler.dense.bias, ") and "classifier.weight" in line for line in lines)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "manifest.json",
        "rank-00000.safetensors",
        "state.json",
        "tokenizer",
    ]


def truncate(directory):
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


DAMAGE = {
    "tokenizer": (lambda d: (d / "vocab.txt").unlink(), "holds no tokenizer"),
    "another vocabulary": (
        lambda d: (d / "vocab.txt").write_text("\n".join([*VOCABULARY, "more"])),
        "has 11 rows, but the tokenizer 12 tokens; take the tokenizer of this model",
    ),
    "truncated": (truncate, "model.safetensors: not readable as safetensors"),
    "family": (lambda d: reconfigure(d, model_type="gpt2"), "model_type = 'gpt2'"),
    "not finite": (
        lambda d: rewrite(d, lambda t: t["cls.predictions.bias"].fill_(float("inf"))),
        "cls.predictions.bias: holds NaN or infinite values",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_model_that_does_not_fit_leaves_nothing(tmp_path, damage):
    """A damaged model is one error that names its directory, and nothing is written."""
    directory = saved(bert(), tmp_path / "model")
    change, message = DAMAGE[damage]
    change(directory)
    with pytest.raises(ValueError, match=message) as error:
        import_pretrained(directory, tmp_path / "new", ImportOptions())
    assert str(error.value).startswith(str(directory)) and "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_configuration_without_a_model_type_is_bert(tmp_path):
    """An older directory of BERT, whose config.json names no family, is imported."""
    directory = saved(bert(), tmp_path / "model")
    settings = json.loads((directory / "config.json").read_text())
    del settings["model_type"], settings["architectures"]
    (directory / "config.json").write_text(json.dumps(settings))
    import_pretrained(directory, tmp_path / "new", ImportOptions())
    assert checkpoint.read_state(tmp_path / "new")["family"] == "bert"
