"""A DeepSpeed JSON sets nothing that the recipe sets, and nothing that makes the update inexact."""

import json
from pathlib import Path

import pytest

from pipeline.engine.settings import (
    MONITORS,
    RECIPE_OWNS,
    UNSUPPORTED,
    find_deepspeed_json,
    read_deepspeed_json,
    require_monitors,
)

SHIPPED = sorted((Path(__file__).parents[3] / "ds_configs").glob("*.json"))


def nested(dotted, value):
    for key in reversed(dotted.split(".")):
        value = {key: value}
    return json.dumps(value)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_json_is_what_its_name_says(path):
    """zero{stage}_{precision}.json has the stage and precision of its name, and nothing that the recipe sets."""
    settings = read_deepspeed_json(path)
    stage, precision = path.stem.removeprefix("zero").split("_")
    assert settings["zero_optimization"]["stage"] == int(stage)
    assert [name for name in ("bf16", "fp16") if name in settings] == ([] if precision == "fp32" else [precision])


def test_all_stages_and_precisions_are_shipped():
    """There are JSON files for ZeRO 0 to 3 in fp32, bf16 and fp16."""
    assert len(SHIPPED) == 12


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *((f'{{"{key}": 1}}', f"x.json: {key} = 1 is set here, but the recipe owns it") for key in RECIPE_OWNS),
        ('{"bf16": {}, "bf16": {}}', "bf16 is set twice"),
        ('{"bf16": }', "x.json:1:10: not valid JSON"),
        ("[]", "must hold a JSON object"),
        *((nested(dotted, "odd"), f"x.json: {dotted} = .*odd.* is not supported: ") for dotted, _, _ in UNSUPPORTED),
        (
            '{"zero_optimization": {"offload_optimizer": {"device": "nvme"}}}',
            'offload_optimizer.device = "nvme" is not',
        ),
        (
            '{"torch_autocast": {"enabled": true, "dtype": "float16"}}',
            'torch_autocast.dtype = "float16" is not supported',
        ),
        ('{"torch_autocast": {"enabled": true}}', "torch_autocast.dtype = null is not supported"),
    ],
)
def test_wrong_json_is_refused(tmp_path, text, message):
    """Each mistake in a JSON file is one clear error with file and remedy."""
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_deepspeed_json(path)


def test_missing_json_is_named():
    """The error names the missing path as given, and the JSON files of the package."""
    with pytest.raises(ValueError, match=r"= ds_configs/none.json: no such file, .*ds_configs/zero3_fp32.json$"):
        find_deepspeed_json("ds_configs/none.json")


def test_a_shipped_json_is_found_in_any_directory_after_a_file_there(tmp_path, monkeypatch):
    """`ds_configs/NAME.json` is the package's file if the working directory has none."""
    monkeypatch.chdir(tmp_path)
    name = f"ds_configs/{SHIPPED[0].name}"
    assert find_deepspeed_json(name).resolve() == SHIPPED[0]
    (tmp_path / "ds_configs").mkdir()
    (tmp_path / name).write_text("{}")
    assert find_deepspeed_json(name).read_text() == "{}"


@pytest.mark.parametrize(("dotted", "exact"), [(dotted, exact) for dotted, exact, _ in UNSUPPORTED])
def test_values_that_change_nothing_pass(tmp_path, dotted, exact):
    """Values such as `none` and false, which DeepSpeed's own examples contain, are accepted since they
    change nothing.
    """
    path = tmp_path / "x.json"
    for value in exact:
        path.write_text(nested(dotted, value))
        assert read_deepspeed_json(path) == json.loads(path.read_text())


@pytest.mark.parametrize("section", MONITORS)
def test_a_monitor_that_is_not_installed_is_named(tmp_path, monkeypatch, section):
    """A monitor whose package is not installed is an error, even if a directory has its name; one that is off is
    accepted.
    """
    monkeypatch.setitem(MONITORS, section, "monitor_of_tests")
    (tmp_path / "monitor_of_tests").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    require_monitors({section: {"enabled": False}, "csv_monitor": {"enabled": True}}, tmp_path)
    with pytest.raises(ValueError, match=rf"{section}.enabled = true, but monitor_of_tests is not installed: pip"):
        require_monitors({section: {"enabled": True}}, tmp_path)
