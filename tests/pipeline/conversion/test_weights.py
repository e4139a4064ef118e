"""Weights of checkpoints, runs, models and files are read alike, and consolidated without loss."""

import json
import stat

import pytest
import torch
from made_checkpoints import add_step, write_checkpoint
from safetensors.torch import load_file, save_file

from pipeline.checkpoints import checkpoint
from pipeline.conversion.weights import consolidate, open_weights


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A directory with a checkpoint, bert, and the model of which it was made, bert-model."""
    folder = tmp_path_factory.mktemp("weights")
    write_checkpoint(folder, "bert")
    return folder


def test_a_consolidated_file_has_the_weights(folder, tmp_path):
    """The file has every weight in fp32 and the configuration, and no optimizer state; nothing is lost."""
    moments = {"exp_avg|encoder.layers.1.output.bias|0": torch.ones(16)}
    newest = add_step(folder / "bert", tmp_path / "run", 3, lambda tensors: tensors.update(moments))
    out = tmp_path / "new" / "weights.safetensors"
    assert consolidate(tmp_path / "run", out) == newest
    written, expected = load_file(out), dict(checkpoint.Reader(newest).tensors())
    assert written.keys() == expected.keys()
    assert all(torch.equal(written[name], value) for name, value in expected.items())
    opened, before = open_weights(out), open_weights(newest)
    assert (opened.fields, opened.shapes, opened.ours) == (before.fields, before.shapes, True)
    assert opened.fields["model.hidden_size"] == 16 and stat.S_IMODE(out.stat().st_mode) & 0o077


def test_a_model_is_read_from_several_files(folder, tmp_path):
    """The tensors of a model directory in 16 bits and several files are read in fp32 under their names."""
    tensors = load_file(folder / "bert-model" / "model.safetensors")
    parts = [dict(list(tensors.items())[:5]), dict(list(tensors.items())[5:])]
    (tmp_path / "config.json").write_text((folder / "bert-model" / "config.json").read_text())
    for number, part in enumerate(parts):
        save_file({name: value.bfloat16() for name, value in part.items()}, tmp_path / f"{number}.safetensors")
    places = {name: f"{number}.safetensors" for number, part in enumerate(parts) for name in part}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    opened = open_weights(tmp_path)
    assert not opened.ours and "transformers_version" not in opened.fields
    for name, value in tensors.items():
        assert opened.read(name).dtype == torch.float32 and torch.equal(opened.read(name), value.bfloat16().float())


def test_what_cannot_be_consolidated_is_an_error(folder, tmp_path):
    """Another suffix, an existing file and a model directory are errors, and nothing is written."""
    with pytest.raises(ValueError, match=r"out.bin: must end in .safetensors"):
        consolidate(folder / "bert", tmp_path / "out.bin")
    with pytest.raises(ValueError, match="neither a checkpoint nor a run"):
        consolidate(folder / "bert-model", tmp_path / "out.safetensors")
    assert not list(tmp_path.iterdir())
    (tmp_path / "out.safetensors").touch()
    with pytest.raises(ValueError, match=r"out.safetensors exists; choose another file"):
        consolidate(folder / "bert", tmp_path / "out.safetensors")
    with pytest.raises(ValueError, match="not written by convert consolidate"):
        open_weights(tmp_path / "out.safetensors")
