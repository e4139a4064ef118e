"""A checkpoint is exported with the files that its manifest lists, and no others; of a run, the newest one."""

import json
import shutil

import pytest
import torch
from made_checkpoints import add_step, rewrite_state, write_checkpoint

from pipeline.checkpoints import checkpoint
from pipeline.conversion import source
from pipeline.conversion.source import open_source, require_listed


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """A checkpoint."""
    return write_checkpoint(tmp_path_factory.mktemp("source"), "bert")


@pytest.fixture
def out(tmp_path_factory):
    """A directory for the tokenizer."""
    return tmp_path_factory.mktemp("out")


def test_a_file_that_no_manifest_lists_is_refused(tmp_path):
    """A file that was added after the checkpoint had been written is an error."""
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "tokenizer.json").touch()
    (tmp_path / "manifest.json").write_text(json.dumps({"files": {"tokenizer/tokenizer.json": {}}}))
    require_listed(tmp_path)
    (tmp_path / "tokenizer" / "tokenization_mine.py").touch()
    with pytest.raises(ValueError, match=r"tokenization_mine.py: not in the checkpoint's manifest.json"):
        require_listed(tmp_path)


def test_the_newest_complete_checkpoint_of_a_run_is_read(imported, tmp_path, out):
    """Of a run, the newest checkpoint that has a manifest is read."""
    for step in (1, 2, 3):
        add_step(imported, tmp_path, step)
    (tmp_path / "checkpoints" / "step-00000003" / "manifest.json").unlink()
    assert open_source(tmp_path, False, out).state["step"] == 2


def test_a_checkpoint_that_the_run_deletes_meanwhile_is_replaced_by_the_newest(imported, tmp_path, monkeypatch, out):
    """If a running job deletes the checkpoint that is being read, the newest one is read instead."""
    first, verify = add_step(imported, tmp_path, 1), checkpoint.verify

    def deleted_meanwhile(directory):
        if directory == first:
            shutil.rmtree(first)
            add_step(imported, tmp_path, 2)
        verify(directory)

    monkeypatch.setattr(source.checkpoint, "verify", deleted_meanwhile)
    assert open_source(tmp_path, False, out).state["step"] == 2


def test_weights_that_are_not_finite_are_an_error(imported, tmp_path, out):
    """NaN in a tensor is an error that names the checkpoint and the tensor."""
    name = "weight|encoder.layers.1.output.weight|0"
    add_step(imported, tmp_path, 1, lambda tensors: tensors[name].fill_(float("nan")))
    with pytest.raises(ValueError, match=r"step-00000001: encoder.layers.1.output.weight holds NaN"):
        open_source(tmp_path, False, out)


def test_a_checkpoint_of_a_fine_tuning_names_its_model(imported, tmp_path, out):
    """A fine-tuning writes its model itself."""
    directory = add_step(imported, tmp_path, 1, lambda tensors: tensors.update({"weight|head.bias|0": torch.zeros(2)}))
    rewrite_state(directory, lambda state: state["tensors"].update({"head.bias": [2]}))
    with pytest.raises(ValueError, match="the checkpoint of a fine-tuning, which writes its model itself"):
        open_source(tmp_path, False, out)


def test_averaged_weights_must_be_there(imported, out):
    """A checkpoint without averaged weights is an error that states the remedy."""
    with pytest.raises(ValueError, match=r"--averaged true: .* has no averaged weights; train with"):
        open_source(imported, True, out)
