"""Differences between models are those of their configurations, their tensors' names, shapes and values."""

import pytest
import torch
from made_checkpoints import add_step, rewrite_state, rewrite_tensors, write_checkpoint

from pipeline.conversion.difference import TensorDifference, difference_between, lines, same
from pipeline.convert import convert

BIAS, MATRIX = "encoder.layers.1.output.bias", "encoder.layers.0.output.weight"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A directory with a checkpoint, bert, and the model of which it was made, bert-model."""
    folder = tmp_path_factory.mktemp("difference")
    write_checkpoint(folder, "bert")
    return folder


def test_equal_models_have_none(folder, tmp_path, capsys):
    """A checkpoint equals itself, whatever its step, and the exit status is 0."""
    add_step(folder / "bert", tmp_path, 4)
    found = difference_between(folder / "bert", tmp_path)
    assert found.is_empty and found.compared > 20
    convert(["diff", str(folder / "bert"), str(tmp_path)])
    assert capsys.readouterr().out == f"equal: {found.compared} tensors, {found.numbers:,} numbers\n"


def test_values_shapes_names_and_fields(folder, tmp_path, capsys):
    """Each kind of difference is found, with the largest and rms difference of each tensor and of all."""
    other = add_step(folder / "bert", tmp_path, 4)
    change = torch.tensor([3e-3, -4e-3])

    def changed(tensors):
        tensors[f"weight|{BIAS}|0"][2:4] += change
        tensors["weight|extra|0"] = torch.ones(6)
        del tensors["weight|pair_head.bias|0"]

    rewrite_tensors(other, changed)

    def renamed(state):
        state["tensors"] |= {"extra": [6], MATRIX: state["tensors"][MATRIX][::-1]}
        del state["tensors"]["pair_head.bias"]
        state["model"]["hidden_act"] = "gelu_new"

    rewrite_state(other, renamed)
    found = difference_between(folder / "bert", other)
    assert found.fields == {"model.hidden_act": ("gelu", "gelu_new")}
    assert (found.only_first, found.only_second) == (("pair_head.bias",), ("extra",))
    assert found.shapes == {MATRIX: ((16, 32), (32, 16))}
    assert found.tensors == (TensorDifference(BIAS, pytest.approx(4e-3, rel=1e-3), pytest.approx(1.25e-3, rel=1e-3)),)
    assert found.rms == pytest.approx(5e-3 / found.numbers**0.5, rel=1e-3)
    with pytest.raises(SystemExit) as ended:
        convert(["diff", str(folder / "bert"), str(other)])
    assert ended.value.code == 1
    assert capsys.readouterr().out.splitlines() == list(lines(found))


def test_models_are_compared_and_never_with_checkpoints(folder, capsys):
    """Two model directories are compared; a checkpoint has other names, which is an error with status 2."""
    assert difference_between(folder / "bert-model", folder / "bert-model").is_empty
    with pytest.raises(SystemExit) as ended:
        convert(["diff", str(folder / "bert"), str(folder / "bert-model")])
    assert ended.value.code == 2
    assert "a checkpoint and a model directory have different names of tensors" in capsys.readouterr().err


def test_nan_equals_nan_alone():
    """Equal damage is no difference, and a NaN on one side is."""
    nan = torch.tensor([1.0, float("nan")])
    assert same(nan, nan.clone()) and not same(nan, torch.ones(2)) and same(torch.zeros(1), -torch.zeros(1))
