"""The DeepSpeed JSON says how, the recipe says what: neither sets the other's numbers."""

from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.engine import RECIPE_OWNS, EngineConfig, find_json, load_json, parameter_groups

SHIPPED = sorted((Path(__file__).parents[2] / "ds_configs").glob("*.json"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_json_is_what_its_name_says(path):
    """zero{stage}_{precision}.json, and nothing that the recipe owns."""
    settings = load_json(path)
    stage, precision = path.stem.removeprefix("zero").split("_")
    assert settings["zero_optimization"]["stage"] == int(stage)
    assert [name for name in ("bf16", "fp16") if name in settings] == ([] if precision == "fp32" else [precision])


def test_all_stages_and_precisions_are_shipped():
    """ZeRO 0 to 3 in fp32, bf16 and fp16."""
    assert len(SHIPPED) == 12


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *((f'{{"{key}": 1}}', f"x.json: {key} = 1 is set here, but the recipe owns it") for key in RECIPE_OWNS),
        ('{"bf16": {}, "bf16": {}}', "bf16 is set twice"),
        ('{"bf16": }', "x.json:1:10: not valid JSON"),
        ("[]", "must hold a JSON object"),
        (
            '{"zero_optimization": {"offload_optimizer": {"device": "cpu"}}}',
            "offload_optimizer is not supported with LAMB",
        ),
    ],
)
def test_wrong_json_is_refused(tmp_path, text, message):
    """One clear error each, with file and remedy."""
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_json(path)


def test_missing_json_is_named():
    """The path as given, and where it was looked for."""
    with pytest.raises(ValueError, match=r"engine.deepspeed = ds_configs/none.json: no such file"):
        find_json("ds_configs/none.json")


def test_precision_has_one_home():
    """A JSON without placeholder already says the precision."""
    with pytest.raises(ValueError, match=r"engine.precision = bf16, but engine.deepspeed"):
        EngineConfig(deepspeed="mine.json", precision="bf16")


def test_tied_weights_are_in_one_group_once():
    """Every parameter is in exactly one group; biases and norms take no decay."""
    model = nn.ModuleDict({"word": nn.Embedding(5, 3), "norm": nn.LayerNorm(3), "decoder": nn.Linear(3, 5)})
    model["decoder"].weight = model["word"].weight
    decayed, plain = parameter_groups(model, lambda name: "norm" in name or name.endswith("bias"))
    assert decayed["decayed"] and not plain["decayed"]
    assert [id(p) for p in decayed["params"]] == [id(model["word"].weight)]
    assert sum(torch.numel(p) for p in plain["params"]) == 3 + 3 + 5
