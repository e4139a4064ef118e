"""The options of an export are checked, and what it has written is described."""

import pytest

from pipeline.conversion.exported import Options, modules_of


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": 3}, r"--labels = 3: has no effect with --as pretraining; use it with --as sequence_classification"),
        ({"labels": -1}, r"--labels = -1: must be at least 1"),
        ({"max_shard_size": "5"}, r"--max_shard_size = 5: must be a whole number with its unit"),
    ],
)
def test_options_without_effect_or_meaning_are_errors(options, message):
    """An option that has no effect or is out of range is an error that names it."""
    with pytest.raises(ValueError, match=message):
        Options(**options)


def test_modules_that_are_left_out_are_named_once():
    """Of nested modules, the outermost one is named."""
    assert modules_of(["cls.a.dense.weight", "cls.bias", "x.y.weight"]) == ["cls", "x.y"]
