"""Of a pickle, tensors, numbers, texts and options are read, and nothing is executed."""

from argparse import Namespace
from pathlib import Path

import pytest
import torch

from pipeline.conversion.layouts import pickled


class Executes:
    """An object whose unpickling would call a function."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_options_and_tensors_are_read(tmp_path):
    """A dictionary of tensors with argparse's options is read."""
    torch.save({"args": Namespace(layers=2), "model": {"a": {"b": torch.ones(1)}, "n": 1}}, tmp_path / "x.pt")
    content = pickled.load(tmp_path / "x.pt", allow_pickle=True)
    assert pickled.options(content) == {"layers": 2} and list(pickled.flatten(content["model"])) == ["a.b"]
    assert pickled.options({"cfg": {"model": {"layers": 3}}}) == {"layers": 3} and pickled.options({}) == {}
    with pytest.raises(ValueError, match="its options lack heads"):
        pickled.required(tmp_path, {"layers": 2}, "heads")


def test_nothing_is_executed(tmp_path):
    """A pickle with another object is an error, with permission too, and calls nothing."""
    torch.save({"model": Executes(tmp_path / "touched")}, tmp_path / "x.pt")
    read = r"not readable as tensors, .* alone \(Unsupported global: GLOBAL .*\); save its state dict"
    for allowed, message in ((False, "--allow_pickle"), (True, read)):
        with pytest.raises(ValueError, match=message) as error:
            pickled.load(tmp_path / "x.pt", allowed)
        assert "weights_only" not in str(error.value), "no advice to read it nevertheless"
    assert not (tmp_path / "touched").exists()
    torch.save([1], tmp_path / "x.pt")
    with pytest.raises(ValueError, match="holds a list, expected a dictionary"):
        pickled.load(tmp_path / "x.pt", allow_pickle=True)


def test_a_checkpoint_is_the_only_one_of_its_directory(tmp_path):
    """A directory has one checkpoint; several ones, and a link that leads out of it, are errors."""
    (tmp_path / "in").mkdir()
    assert pickled.file_of(tmp_path / "in", "*.pt") is None
    torch.save({}, tmp_path / "x.pt")
    (tmp_path / "in" / "x.pt").symlink_to(tmp_path / "x.pt")
    with pytest.raises(ValueError, match="outside of the directory"):
        pickled.file_of(tmp_path / "in", "*.pt")
    (tmp_path / "in" / "y.pt").touch()
    with pytest.raises(ValueError, match=r"several checkpoints \(x\.pt, y\.pt\); name one of them"):
        pickled.file_of(tmp_path / "in", "*.pt")
    assert pickled.file_of(tmp_path / "x.pt", "*.pt") == tmp_path / "x.pt"
