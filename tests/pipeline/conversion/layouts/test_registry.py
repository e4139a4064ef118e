"""A model's layout is found from its files."""

import importlib

import pytest

from pipeline.conversion.layouts import registry


def test_every_layout_can_be_found():
    """Each layout has a module with `matches` and `read`, and files that messages name."""
    assert set(registry.KNOWN_FILES) == set(registry.LAYOUTS)
    for name in registry.LAYOUTS:
        module = importlib.import_module(f"pipeline.conversion.layouts.{name}")
        assert callable(module.matches) and callable(module.read)


def test_no_layout_is_one_error(tmp_path):
    """A path that does not exist, a directory without a model and an unknown layout are errors with a remedy."""
    with pytest.raises(ValueError, match="nowhere: no such file or directory"):
        registry.read(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"has no config\.json and no file of another known layout"):
        registry.read(tmp_path)
    with pytest.raises(ValueError, match="--layout keras: must be one of megatron, huggingface"):
        registry.read(tmp_path, "keras")
