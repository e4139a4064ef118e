"""Recipes: every number has one home, and mistakes are named (law 8)."""

import argparse
from pathlib import Path

import pytest

from pipeline.config import open_run, parse, parser, plain, to_toml
from pipeline.identity import differences

RECIPES = sorted((Path(__file__).parents[2] / "pipeline" / "recipes").glob("*.toml"))
DEMO = next(path for path in RECIPES if path.name == "demo.toml")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_parses_and_its_toml_parses_to_the_same(path, tmp_path):
    """What is saved beside a run gives the run's recipe back."""
    recipe = parse(["--recipe", str(path)])
    saved = tmp_path / "recipe.toml"
    saved.write_text(to_toml(recipe))
    assert parse(["--recipe", str(saved)]) == recipe


def test_published_numbers_of_bert_large():
    """NVIDIA's LAMB recipe, both phases."""
    first, second = (parse(["--recipe", str(DEMO.with_name(f"bert_large_phase{n}.toml"))]) for n in (1, 2))
    assert (first.batch.global_batch_size, first.schedule.total_steps, first.optimizer.lr) == (65536, 7038, 6e-3)
    assert (second.batch.global_batch_size, second.schedule.total_steps, second.optimizer.lr) == (32768, 1563, 4e-3)
    assert (first.schedule.warmup_proportion, second.schedule.warmup_proportion) == (0.2843, 0.128)
    assert (first.masking.max_predictions, second.masking.max_predictions) == (20, 80)
    assert (first.model.hidden_size, first.model.num_hidden_layers, first.model.intermediate_size) == (1024, 24, 4096)
    assert second.init_from == first.run_dir


def test_command_line_overrides_the_recipe():
    """Command line > file > defaults."""
    assert parse(["--recipe", str(DEMO), "--optimizer.lr", "0.5"]).optimizer.lr == 0.5


@pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False), ("0", 0), ("1", 1), ("2", 2)])
def test_activation_checkpointing_is_a_switch_or_a_number(text, value, tmp_path):
    """1 is one layer and true is all of them, on the command line, in a file and in what is saved."""
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
        ("[optimizer]\nlearning_rate = 1", "learning_rate"),
        ("[optimiser]\nlr = 1", "optimiser"),
        ("[batch]\nglobal_batch_size = 'many'", "global_batch_size"),
        ("[schedule]\ntotal_steps = 1\ntotal_steps = 2", "overwrite"),
        ("[schedule", "Expected"),
    ],
)
def test_wrong_key_or_type_is_named(tmp_path, addition, message):
    """Unknown, doubled and mistyped keys, and broken TOML."""
    path = tmp_path / "wrong.toml"
    path.write_text('run_dir = "x"\n[data]\nsamples = "y"\n' + addition + "\n")
    with pytest.raises(argparse.ArgumentError, match=message):
        parse(["--recipe", str(path)])


def test_missing_recipe_file_is_named():
    """A path that does not exist is not taken for TOML text."""
    with pytest.raises(ValueError, match=r"nowhere.toml: no such file"):
        parse(["--recipe", "nowhere.toml"])


def test_help_explains_every_field():
    """Each option has a description."""
    silent = [action.dest for action in parser()._actions if action.help is None]
    assert silent == []


def test_run_is_continued_only_with_its_own_recipe(tmp_path):
    """What changes the result is refused by name; what does not may change."""
    begun = parse(["--recipe", str(DEMO), "--run_dir", str(tmp_path / "run")])
    assert open_run(begun) == tmp_path / "run"
    harmless = parse(["--recipe", str(DEMO), "--run_dir", str(tmp_path / "run"), "--checkpoint.keep", "9"])
    open_run(harmless)
    other = parse(["--recipe", str(DEMO), "--run_dir", str(tmp_path / "run"), "--seed", "1", "--optimizer.lr", "1"])
    with pytest.raises(ValueError, match=r"seed: 12345 -> 1; .*optimizer.lr"):
        open_run(other)
    assert differences(plain(begun), plain(harmless)) == []


def test_foreign_directory_is_refused(tmp_path):
    """A directory that holds something else is never written to."""
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="exists and is not a run"):
        open_run(parse(["--recipe", str(DEMO), "--run_dir", str(tmp_path)]))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
