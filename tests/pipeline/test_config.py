"""Every number of a recipe has one home, and mistakes are named (law 8)."""

import argparse
import json
from pathlib import Path

import pytest

from pipeline.config import parse, parser, recipe_class, to_toml

RECIPES = sorted((Path(__file__).parents[2] / "pipeline" / "recipes").glob("*.toml"))
DEMO = next(path for path in RECIPES if path.name == "demo.toml")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_parses_and_its_toml_parses_to_the_same(path, tmp_path):
    """The saved recipe of a run is read back as the same recipe."""
    recipe = parse(["--recipe", str(path)])
    saved = tmp_path / "recipe.toml"
    saved.write_text(to_toml(recipe))
    assert parse(["--recipe", str(saved)]) == recipe


def test_published_numbers_of_bert_large():
    """The recipes of BERT-large have the numbers of both phases of NVIDIA's LAMB recipe."""
    first, second = (parse(["--recipe", str(DEMO.with_name(f"bert_large_phase{n}.toml"))]) for n in (1, 2))
    assert (first.batch.global_batch_size, first.schedule.total_steps, first.optimizer.lr) == (65536, 7038, 6e-3)
    assert (second.batch.global_batch_size, second.schedule.total_steps, second.optimizer.lr) == (32768, 1563, 4e-3)
    assert (first.schedule.warmup_proportion, second.schedule.warmup_proportion) == (0.2843, 0.128)
    assert (first.masking.max_predictions, second.masking.max_predictions) == (20, 80)
    assert (first.model.hidden_size, first.model.num_hidden_layers, first.model.intermediate_size) == (1024, 24, 4096)
    assert second.init_from == first.run_dir


def test_command_line_overrides_the_recipe():
    """An option of the command line takes precedence over the recipe, and the recipe over defaults."""
    assert parse(["--recipe", str(DEMO), "--optimizer.lr", "0.5"]).optimizer.lr == 0.5


def test_a_recipe_is_named_after_its_file(tmp_path):
    """A recipe has the name of its file unless it states one; so a run's saved recipe, or a copy, keeps the name."""
    (tmp_path / "copy.toml").write_text('name = "demo"\n' + DEMO.read_text())
    assert parse(["--recipe", "demo"]).name == parse(["--recipe", str(tmp_path / "copy.toml")]).name == "demo"
    assert parse(["--recipe", str(DEMO), "--name", "mine"]).name == "mine"


@pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False), ("0", 0), ("1", 1), ("2", 2)])
def test_activation_checkpointing_is_a_switch_or_a_number(text, value, tmp_path):
    """On the command line, in a file and in the saved recipe, 1 means one layer and true means all layers."""
    parsed = parse(["--recipe", str(DEMO), "--model.activation_checkpointing", text])
    saved = tmp_path / "recipe.toml"
    saved.write_text(to_toml(parsed))
    assert f"activation_checkpointing = {text}" in saved.read_text()
    for recipe in (parsed, parse(["--recipe", str(saved)])):
        found = recipe.model.activation_checkpointing
        assert found == value and isinstance(found, type(value))


@pytest.mark.parametrize(
    ("addition", "message"),
    [
        ("[optimizer]\nlearning_rat = 1", r"unknown key optimizer.learning_rat; \[optimizer\] has name, lr, "),
        ("[checkpoint]\nevry = 1", r"unknown key checkpoint.evry; did you mean checkpoint.every\?"),
        ("[batch]\nlr = 1", r"unknown key batch.lr; did you mean optimizer.lr\?"),
        ("[optimiser]\nlr = 1", r"unknown section \[optimiser\]; did you mean optimizer\?"),
        ("[batch]\nglobal_batch_size = 'many'", "batch.global_batch_size = 'many': must be an integer"),
        ("[batch]\nglobal_batch_size = 8.0", "batch.global_batch_size = 8.0: must be an integer"),
        ("[optimizer]\nlr = nan", "optimizer.lr = nan: must be a finite number"),
        ("[engine]\ntf32 = 1", "engine.tf32 = 1: must be true or false"),
        ("[engine]\nprecision = 'fp8'", "engine.precision = 'fp8': must be one of auto, fp32, bf16, fp16"),
        ("[optimizer]\nvariant = 'nvlamb'", "optimizer.variant = 'nvlamb': is called nvidia now; write nvidia"),
        ("[schedule]\ntotal_steps = 1\ntotal_steps = 2", r"wrong.toml:6:16: not valid TOML \(Cannot overwrite"),
        ("[schedule", r"wrong.toml:4:10: not valid TOML \(Expected"),
        ("\xff", "wrong.toml: is no UTF-8 text"),
        ("", "the recipe lacks model.hidden_size, "),
    ],
)
def test_a_wrong_file_is_one_line_with_its_name(tmp_path, addition, message):
    """Unknown, doubled and mistyped keys are errors with the key that was probably meant; broken TOML is an error with
    its place.
    """
    path = tmp_path / "wrong.toml"
    path.write_bytes(f'run_dir = "x"\n[data]\nsamples = "y"\n{addition}\n'.encode("latin-1"))
    with pytest.raises(ValueError, match=message) as caught:
        parse(["--recipe", str(path)])
    assert "\n" not in str(caught.value) and ("wrong.toml" in str(caught.value) or not addition)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--optimiser.lr", "1"], r"unknown option --optimiser.lr; did you mean --optimizer.lr\?"),
        (["--lr=1"], r"unknown option --lr; did you mean --optimizer.lr\?"),
        (["--seeds", "1"], r"unknown option --seeds; did you mean --seed\?"),
        (["--recip", "x"], r"unknown option --recip; did you mean --recipe\?"),
        (["--seed"], "--seed: needs a value"),
        (["--seed", "--optimizer.lr", "1"], "--seed: needs a value"),
        (["lr=1"], "lr=1: is no option"),
        (["--batch.global_batch_size", "many"], "batch.global_batch_size = many: must be an integer"),
        (["--engine.tf32=yes"], "engine.tf32 = yes: must be true or false"),
        (["--optimizer.lr", "inf"], "optimizer.lr = inf: must be a finite number"),
        (["--optimizer.variant", "nvlamb"], "optimizer.variant = nvlamb: is called nvidia now; write nvidia"),
        (["--model.activation_checkpointing", "x"], "must be true or false or an integer"),
        (["--checkpoint.keep", "-1"], "checkpoint.keep = -1: must be at least 1"),
    ],
)
def test_a_wrong_command_line_is_one_line(options, message):
    """A wrong command line, or a value on it that is out of range, is an error of usage with status 2."""
    with pytest.raises(argparse.ArgumentError, match=message) as caught:
        parse(["--recipe", str(DEMO), *options])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("batch.micro_batch_size", 0),
        ("checkpoint.keep", 0),
        ("data.num_workers", -1),
        ("data.prefetch", 0),
        ("data.token_multiple", 0),
        ("engine.max_skipped_steps", 0),
        ("evaluation.samples", 0),
        ("logging.every", 0),
        ("logging.peak_tflops", -1.0),
        ("masking.duplicates", -1),
        ("masking.max_predictions", -1),
        ("masking.probability_start", 0.9),
        ("masking.probability", 0.9),
        ("model.hidden_size", 0),
        ("model.hidden_dropout_prob", 1.0),
        ("model.layer_norm_eps", 0.0),
        ("model.activation_checkpointing", 99),
        ("optimizer.lr", -1.0),
        ("schedule.total_steps", 0),
        ("seed", -1),
    ],
)
def test_a_value_out_of_its_range_is_named_by_section_and_field(tmp_path, field, value):
    """A value out of range in a file is an error of the form `section.field = value: rule`."""
    recipe = {"run_dir": "x", "data.samples": "y"}
    recipe |= {f"model.{name}": 8 for name in ("hidden_size", "num_hidden_layers", "intermediate_size")}
    recipe |= {"model.num_attention_heads": 2, field: value}
    # A key with dots is TOML, too.
    (tmp_path / "recipe.toml").write_text("".join(f"{name} = {json.dumps(what)}\n" for name, what in recipe.items()))
    with pytest.raises(ValueError, match=rf"^{field} = {value}: must be "):
        parse(["--recipe", str(tmp_path / "recipe.toml")])


def test_missing_recipe_file_is_named():
    """A path that does not exist is an error, and is not read as TOML text."""
    with pytest.raises(ValueError, match=r"nowhere.toml: no such file"):
        parse(["--recipe", "nowhere.toml"])


def test_help_explains_every_field():
    """The help text describes each option."""
    silent = [action.dest for action in parser(recipe_class("bert"))._actions if action.help is None]
    assert silent == []


def test_the_installed_command_calls_itself_by_its_name(monkeypatch):
    """The parser has the name with which the program was started, although it is kept for the next call."""
    for started, name in (("/usr/bin/bert-pretrain", "bert-pretrain"), ("-c", "python -m pipeline.pretrain")):
        monkeypatch.setattr("sys.argv", [started])
        assert parser(recipe_class("bert")).prog == name
