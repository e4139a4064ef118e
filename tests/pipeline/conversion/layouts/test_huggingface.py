"""Directories of transformers and of sentence-transformers are found, and no name in them leads elsewhere."""

import json
import shutil

import pytest
import torch
from pretrained_models import bert, saved

from pipeline.conversion.layouts import registry


@pytest.fixture
def encoder(tmp_path):
    """The directory of an encoder."""
    return saved(bert("BertModel"), tmp_path / "encoder")


def modules(directory, *listed):
    """Write the list of modules of a sentence-transformers directory."""
    names = [{"idx": number, "path": path, "type": f"a.b.{kind}"} for number, (path, kind) in enumerate(listed)]
    (directory / "modules.json").write_text(json.dumps(names))


@pytest.mark.parametrize("folder", ["", "0_Transformer", "0_BERT"])
def test_a_sentence_transformers_directory_holds_a_model(encoder, tmp_path, folder):
    """The model is at the top or in a folder; further modules are named as left out."""
    top = tmp_path / "sentences"
    shutil.copytree(encoder, top / folder)
    modules(top, (folder, "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense", "Dense"))
    source = registry.read(top)
    assert source.tokenizer == top / folder and source.left_out == ("module Pooling", "module Dense")
    assert source.fields["hidden_size"] == 16 and "embeddings.LayerNorm.weight" in source.outlines


def test_an_older_directory_has_the_folder_alone(encoder, tmp_path):
    """Without modules.json the folder 0_Transformer is the model."""
    shutil.copytree(encoder, tmp_path / "sentences" / "0_Transformer")
    assert registry.read(tmp_path / "sentences").tokenizer.name == "0_Transformer"


def test_sharded_safetensors_are_read(tmp_path):
    """A model in several safetensors files with an index has the tensors of all of them."""
    model = bert()
    model.save_pretrained(tmp_path / "shards", max_shard_size="2KB")
    assert len(list((tmp_path / "shards").glob("model-*.safetensors"))) > 1
    values = registry.read(tmp_path / "shards").values()
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in values.items())


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ([("../encoder", "Transformer")], r"'\.\./encoder' leads out of the directory"),
        ([("/encoder", "Transformer")], "leads out of the directory"),
        ([("0_Transformer", "Transformer")], "no folder of this directory"),
        ([("1_Pooling", "Pooling")], "lists no module Transformer, only Pooling"),
    ],
)
def test_a_list_of_modules_that_leads_nowhere_is_one_error(encoder, tmp_path, listed, message):
    """A module outside of the directory, a folder that is not there, and a list without a model are errors."""
    (tmp_path / "sentences").mkdir()
    modules(tmp_path / "sentences", *listed)
    with pytest.raises(ValueError, match=message):
        registry.read(tmp_path / "sentences")


def test_a_damaged_list_of_modules_is_one_error(tmp_path):
    """A modules.json of another form is an error that names it."""
    for content, message in (("{}", "expected a list"), ("[1]", "a list of modules with type and path")):
        (tmp_path / "modules.json").write_text(content)
        with pytest.raises(ValueError, match=rf"modules\.json: .*{message}"):
            registry.read(tmp_path)


def test_a_pickle_needs_permission(tmp_path):
    """pytorch_model.bin is read with allow_pickle alone, and then as tensors only."""
    model = bert("BertModel")
    saved(model, tmp_path / "old")
    (tmp_path / "old" / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "old" / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pytorch_model\.bin: a pickle, .*--allow_pickle"):
        registry.read(tmp_path / "old")
    values = registry.read(tmp_path / "old", allow_pickle=True).values()
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in values.items())
