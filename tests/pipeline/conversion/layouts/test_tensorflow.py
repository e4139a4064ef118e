"""Checkpoints of google-research/bert are read with all their weights."""

import json

import numpy as np
import pytest
from bundles import write_bundle
from pretrained_models import SIZES, VOCABULARY, assert_same_model, bert, write_vocabulary

from pipeline.conversion.importing import ImportOptions, import_pretrained
from pipeline.conversion.layouts import registry
from pipeline.conversion.pretrained import read_pretrained
from pipeline.families.bert import FAMILY


@pytest.fixture(scope="module")
def model():
    """The model that was trained."""
    return bert()


def theirs(name):
    """The name of a parameter in TensorFlow."""
    name = name.replace("encoder.layer.", "encoder.layer_").replace("LayerNorm.weight", "LayerNorm.gamma")
    name = name.replace("LayerNorm.bias", "LayerNorm.beta").replace("_embeddings.weight", "_embeddings")
    if name in ("cls.predictions.bias", "cls.seq_relationship.bias"):
        name = name.replace("bias", "output_bias")
    if name == "cls.seq_relationship.weight":
        name = name.replace("weight", "output_weights")
    return name.replace(".weight", ".kernel").replace(".", "/")


def arrays(model):
    """The parameters of a model as TensorFlow stores them."""
    state = {theirs(name): value.detach().numpy() for name, value in model.named_parameters()}
    return {name: np.ascontiguousarray(value.T) if "kernel" in name else value for name, value in state.items()}


def save(directory, values, **fields):
    """Write a checkpoint with its configuration and vocabulary."""
    write_vocabulary(directory)
    write_bundle(directory / "bert_model.ckpt", values)
    settings = {"vocab_size": len(VOCABULARY), "max_position_embeddings": 32, "type_vocab_size": 2, **SIZES}
    (directory / "bert_config.json").write_text(json.dumps(settings | {"hidden_act": "gelu"} | fields))
    return directory


def test_a_checkpoint_has_the_weights_and_logits_of_its_model(model, tmp_path):
    """Weights are equal bit for bit and logits are equal, and the state of the optimizer is left out."""
    values = arrays(model)
    values |= {f"{name}/adam_m": value for name, value in values.items()} | {"global_step": np.array(5)}
    directory = save(tmp_path / "tf", values)
    for path in (directory, directory / "bert_model.ckpt.index"):
        source = registry.read(path)
        assert_same_model(read_pretrained(FAMILY, source), model)
        assert source.left_out == ("state of the optimizer",)
    lines = import_pretrained(directory, tmp_path / "new", ImportOptions())
    assert any("vocab.txt is taken as lower case" in line for line in lines)


def test_a_fine_tuned_checkpoint_lacks_heads(model, tmp_path):
    """A classifier of run_classifier.py is left out, and the missing heads are named under their present names."""
    values = {name: value for name, value in arrays(model).items() if name.startswith("bert/")}
    values |= {"output_weights": np.ones((2, 16), np.float32), "output_bias": np.ones(2, np.float32)}
    source = registry.read(save(tmp_path / "tf", values))
    with pytest.raises(ValueError, match=r"missing cls\.predictions\.decoder\.bias"):
        read_pretrained(FAMILY, source)
    found = read_pretrained(FAMILY, source, new_heads=True)
    assert {"classifier.weight", "classifier.bias"} <= set(found.left_out) and len(found.new) == 5


@pytest.mark.parametrize(
    ("change", "fields", "message"),
    [
        ({"bert/pooler/dense/bias": np.full(16, np.nan, np.float32)}, {}, r"bert\.pooler\.dense\.bias: holds NaN"),
        ({"bert/pooler/dense/bias": np.ones(8, np.float32)}, {}, r"pooler\.dense\.bias is \(8,\) in the weights"),
        ({"bert/more/kernel": np.ones((2, 2), np.float32)}, {}, r"unknown bert\.more\.weight"),
        ({}, {"num_hidden_layers": 3}, r"bert_config\.json: num_hidden_layers = 3, but the weights hold 2 layers"),
        ({}, {"vocab_size": 12}, r"bert_config\.json: vocab_size = 12, but the weights hold 11 tokens"),
    ],
)
def test_what_does_not_fit_is_one_error(model, tmp_path, change, fields, message):
    """Values, shapes, names and sizes that do not fit are errors that name the checkpoint and the tensor or field."""
    directory = save(tmp_path / "tf", arrays(model) | change, **fields)
    with pytest.raises(ValueError, match=message) as error:
        read_pretrained(FAMILY, registry.read(directory))
    assert str(directory / "bert_model.ckpt.index") in str(error.value) and "\n" not in str(error.value)


def test_missing_files_are_one_error(model, tmp_path):
    """A checkpoint without its configuration, and a directory with several checkpoints, are errors."""
    directory = save(tmp_path / "tf", arrays(model))
    write_bundle(directory / "second.ckpt", {})
    with pytest.raises(ValueError, match=r"several checkpoints \(bert_model\.ckpt\.index, second\.ckpt\.index\)"):
        registry.read(directory)
    (directory / "bert_config.json").unlink()
    with pytest.raises(ValueError, match=r"needs an \.index file, and bert_config\.json beside it"):
        registry.read(directory / "bert_model.ckpt.index")
