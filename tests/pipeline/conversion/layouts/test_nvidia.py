"""Checkpoints of NVIDIA's DeepLearningExamples are read with all their weights."""

import json

import pytest
import torch
from pretrained_models import SIZES, VOCABULARY, assert_same_model, bert, write_vocabulary

from pipeline.conversion.importing import ImportOptions, import_pretrained
from pipeline.conversion.layouts import registry
from pipeline.conversion.pretrained import read_pretrained
from pipeline.families.bert import FAMILY

ROWS = 16
"""The vocabulary of 11 words padded to a multiple of 8."""


@pytest.fixture(scope="module")
def model():
    """The model that was trained."""
    return bert(rows=ROWS)


@pytest.fixture(params=["weight", "gamma"])
def directory(request, model, tmp_path):
    """Its checkpoint, with either of the names of a normalisation."""

    def theirs(name):
        for ours in ("intermediate.dense", "pooler.dense", "transform.dense"):
            name = name.replace(ours, f"{ours}_act")
        if request.param == "gamma":
            name = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        return f"module.{name}"

    write_vocabulary(tmp_path / "nvidia")
    state = {theirs(name): value for name, value in model.state_dict().items()}
    content = {"model": state, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}, "epoch": 3}
    torch.save(content, tmp_path / "nvidia" / "ckpt_7.pt")
    fields = {"vocab_size": len(VOCABULARY), "max_position_embeddings": 32, "type_vocab_size": 2, **SIZES}
    (tmp_path / "nvidia" / "bert_config.json").write_text(json.dumps(fields))
    return tmp_path / "nvidia"


def test_a_checkpoint_has_the_weights_and_logits_of_its_model(directory, model):
    """Weights are equal bit for bit and logits are equal, from the directory and from the file."""
    for path in (directory, directory / "ckpt_7.pt"):
        source = registry.read(path, allow_pickle=True)
        assert_same_model(read_pretrained(FAMILY, source), model)
        assert source.left_out == ("optimizer", "epoch")


def test_padding_of_the_vocabulary_is_trimmed_on_request(directory, tmp_path):
    """The 16 rows of 11 words are an error that names the options, and are trimmed or kept."""
    with pytest.raises(ValueError, match="has 16 rows, but the tokenizer 11 tokens"):
        import_pretrained(directory, tmp_path / "new", ImportOptions(allow_pickle=True))
    import_pretrained(directory, tmp_path / "new", ImportOptions(allow_pickle=True, extra_rows="trim"))


def test_damage_is_one_error(directory, tmp_path):
    """A pickle without permission, a truncated one, several ones, another size and a missing file are errors."""

    def read(message, path=directory, allow_pickle=True):
        with pytest.raises(ValueError, match=message) as error:
            read_pretrained(FAMILY, registry.read(path, "nvidia", allow_pickle))
        assert "\n" not in str(error.value) and str(path) in str(error.value)

    read(r"ckpt_7\.pt: a pickle; pass --allow_pickle true", allow_pickle=False)
    fields = json.loads((directory / "bert_config.json").read_text())
    (directory / "bert_config.json").write_text(json.dumps(fields | {"vocab_size": 8}))
    read(r"bert_config\.json: vocab_size = 8, but the weights hold 16 tokens")
    (directory / "ckpt_9.pt").write_bytes((directory / "ckpt_7.pt").read_bytes()[:1000])
    read(r"holds several checkpoints \(ckpt_7\.pt, ckpt_9\.pt\); name one")
    read("not readable as tensors, numbers and texts alone", path=directory / "ckpt_9.pt")
    torch.save({"model": {"a": 1}}, directory / "ckpt_9.pt")
    read("holds no tensors under 'model'", path=directory / "ckpt_9.pt")
    (directory / "bert_config.json").unlink()
    read(r"needs a \.pt file, and bert_config\.json beside it", path=directory / "ckpt_9.pt")
