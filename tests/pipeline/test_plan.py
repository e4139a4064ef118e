"""The command of the planner: tables, picture, figures and messages."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from pipeline.config import parse
from pipeline.families import get_family
from pipeline.plan import plan
from tests.recipes import write_recipe
from tests.samples import make_samples

RECIPES = Path(__file__).parents[2] / "pipeline" / "recipes"
LARGE = [str(RECIPES / f"bert_large_phase{n}.toml") for n in (1, 2)]
VOCABULARY = ["--vocab_size", "30522"]
"""The size that is assumed where samples do not exist, so that the tests of this file measure each micro-batch once."""
SHORT = ["--seq_length", "128", *VOCABULARY]
LENGTHS = ["--seq_length", "[128, 512]", "--mean_tokens", "[128, 254]", *VOCABULARY]


def test_both_phases(tmp_path, capsys):
    """A plan of two phases has a table for each and their sum, figures that add up, and a picture of two panels."""
    out, figures = tmp_path / "plan.png", tmp_path / "plan.json"
    plan([*LARGE, *LENGTHS, "--gpus", "64", "--price", "2", "--out", str(out), "--json", str(figures)])
    text = capsys.readouterr().out
    assert "MFU 0.45 assumed" in text
    assert 'deepspeed = "ds_configs/zero0_{precision}.json"' in text
    assert list(json.loads(figures.read_text())["phases"][0]["gpus"]) == ["1", "8", "64", "512", "4096", "8192"]
    values = json.loads(figures.read_text())
    hours = sum(p["gpus"]["64"]["time"]["seconds"] for p in values["phases"]) * 64 / 3600
    assert f"{hours:,.1f} {hours * 2:>14,.2f}" in text
    assert sum(p["flops"] for p in values["phases"]) == pytest.approx(1.36e20, rel=0.01)
    assert Image.open(out).width > 1000


def test_samples_that_exist_are_asked(tmp_path, capsys):
    """Length and vocabulary are those of the samples' manifest."""
    samples = make_samples(tmp_path / "samples", train=8, heldout=4)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text((RECIPES / "demo.toml").read_text().replace("demo/data/samples128", str(samples)))
    plan([str(recipe), "--gpus", "1"])
    assert "up to 32 tokens a sample" in capsys.readouterr().out


def test_a_plan_is_made_before_there_is_data(tmp_path, monkeypatch, capsys):
    """The README's command works in a fresh clone, and states its assumptions and the options that set them."""
    monkeypatch.chdir(tmp_path)
    plan([*LARGE, "--gpus", "128", "--gpu", "h100"])
    said = [line for line in capsys.readouterr().out.splitlines() if "does not exist yet" in line]
    vocabulary = "a vocabulary of 30,522 (BERT's; --vocab_size)"
    assert said == [
        f"data/samples{length} does not exist yet; assumed: up to {length} tokens a sample (the name of data.samples; "
        f"--seq_length) and {vocabulary}"
        for length in (128, 512)
    ]
    plan([str(RECIPES / "demo.toml"), "--seq_length", "100", "--vocab_size", "4096"])
    assert "does not exist yet" not in capsys.readouterr().out


FAMILIES = {
    "albert": "embedding_size = 16",
    "deberta": 'objective = "replaced"',
    "distilbert": 'teacher = "nowhere"',
    "electra": "embedding_size = 16",
    "megatron_bert": "",
    "modernbert": "local_attention = 8",
    "roberta": "",
    "spanbert": "",
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_planned(tmp_path, capsys, family):
    """A plan has all parameters of the model, and the memory and operations of a teacher beside them."""
    recipe = write_recipe(tmp_path, "samples32", global_batch_size=1, micro_batch_size=1)
    figures = tmp_path / "plan.json"
    text = recipe.read_text().replace("[model]", f"[model]\n{FAMILIES[family]}")
    recipe.write_text(f'family = "{family}"\n{text}')
    plan([str(recipe), "--gpus", "1", "--vocab_size", "500", "--json", str(figures)])
    found, config = json.loads(figures.read_text())["phases"][0], parse(["--recipe", str(recipe)]).model
    with torch.device("meta"):
        parameters = list(get_family(family).of(config).build(config, 500).parameters())
    assert found["parameters"] == sum(parameter.numel() for parameter in parameters) and found["flops"] > 0
    weights = 2 * found["auxiliary_parameters"]
    assert found["gpus"]["1"]["choice"]["memory"]["auxiliary"] == weights and (weights > 0) == (family == "distilbert")
    assert ("model.teacher = nowhere does not exist yet" in capsys.readouterr().out) == (family == "distilbert")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*LARGE, *LENGTHS[:1], "[1, 2, 3]"], r"one for each of the 2 recipes"),
        (
            [LARGE[0], *SHORT, "--gpus", "7"],
            r"not divide over 7 .* --gpus 4 does",
        ),
        ([LARGE[0], "--mfu", "45"], r"--mfu 45.0: must be a fraction of the peak"),
        (
            [str(RECIPES / "megatron_bert_3.9b.toml"), *SHORT, "--gpu", "a100-40gb", "--gpus", "64", "--stages", "[0]"],
            r"ZeRO-0 with activation checkpointing .* it fits with .*--stages \[3\]",
        ),
        ([LARGE[0], "--stages", "[3, 4]"], r"--stages \[3, 4\]: must be one or more of"),
        (["nowhere.toml"], r"nowhere.toml: no such file"),
        (
            [
                str(RECIPES / "megatron_bert_3.9b.toml"),
                *LENGTHS[:1],
                "512",
                *LENGTHS[-2:],
                "--gpu",
                "v100",
                "--gpus",
                "1",
            ],
            r"does not fit on 1 x V100: ZeRO-3 .* it fits with --gpus \d+ or --gpu \w+",
        ),
    ],
)
def test_mistakes_are_named(arguments, message):
    """The error for a mistake names the option and the remedy."""
    with pytest.raises(ValueError, match=message):
        plan(arguments)
