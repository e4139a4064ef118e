"""A run's directory belongs to one recipe."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config import parse, plain
from pipeline.jobs.identity import differences
from pipeline.jobs.run_directory import open_run

DEMO = Path(__file__).parents[3] / "pipeline" / "recipes" / "demo.toml"


def test_run_is_continued_only_with_its_own_recipe(tmp_path):
    """A field that changes the result must not differ, and the error names it; other fields may differ."""
    begun = parse(["--recipe", str(DEMO), "--run_dir", str(tmp_path / "run")])
    assert open_run(begun) == tmp_path / "run"
    harmless = parse(["--recipe", str(DEMO), "--run_dir", str(tmp_path / "run"), "--checkpoint.keep", "9"])
    open_run(harmless)
    other = parse(["--recipe", str(DEMO), "--run_dir", str(tmp_path / "run"), "--seed", "1", "--optimizer.lr", "1"])
    with pytest.raises(ValueError, match=r"seed: 12345 -> 1; .*optimizer.lr"):
        open_run(other)
    assert differences(plain(begun), plain(harmless), {}) == []


@pytest.mark.parametrize("content", ["[schedule", 'run_dir = "x"\n[schedul]\n', "seed = 'x'"])
def test_a_damaged_recipe_of_a_run_is_named(tmp_path, content):
    """The error for a damaged recipe.toml names the file and the remedy."""
    recipe = parse(["--recipe", str(DEMO), "--run_dir", str(tmp_path / "run")])
    saved = open_run(recipe) / "recipe.toml"
    saved.write_text(content)
    with pytest.raises(ValueError, match=rf"{saved}.*; restore the file that the run wrote, or choose another run_dir"):
        open_run(recipe)
    assert saved.read_text() == content


def test_a_run_of_an_earlier_version_is_continued(tmp_path):
    """A run whose recipe.toml has an old name of a value and lacks a field is continued, and the file gets the present
    names.
    """
    lamb = ["--optimizer.name", "lamb", "--optimizer.adam_lr_factor", "1"]
    recipe = parse(["--recipe", str(DEMO), "--run_dir", str(tmp_path / "run"), *lamb])
    saved = open_run(recipe) / "recipe.toml"
    present = saved.read_text()
    former = present.replace('variant = "nvidia"', 'variant = "nvlamb"').replace("beta1 = 0.9\n", "")
    assert former.count("nvlamb") == 1 and "beta1" not in former
    saved.write_text(former)
    open_run(recipe)
    assert saved.read_text() == present
    saved.write_text(former)
    with pytest.raises(ValueError, match=r"another recipe \(optimizer.variant: nvidia -> paper\)"):
        open_run(replace(recipe, optimizer=replace(recipe.optimizer, variant="paper")))
    with pytest.raises(ValueError, match=r"another recipe \(optimizer.beta1: 0.9 -> 0.8\)"):
        open_run(replace(recipe, optimizer=replace(recipe.optimizer, beta1=0.8)))


def test_a_run_without_recipe_is_compared_with_its_checkpoint(tmp_path):
    """A removed recipe.toml is written again if the newest checkpoint is of the same recipe."""
    recipe = parse(["--recipe", str(DEMO), "--run_dir", str(tmp_path / "run")])
    checkpoint = open_run(recipe) / "checkpoints" / "step-00000003"
    checkpoint.mkdir(parents=True)
    (checkpoint / "manifest.json").write_text("{}")
    state = {"step": 3, "consumed_samples": 0, "optimizer_step": 3, "family": "bert", "model": {}, "vocab_size": 9}
    state |= {"tensors": {"a": [1]}, "metrics": {}, "recipe": plain(recipe)}
    (checkpoint / "state.json").write_text(json.dumps(state))
    saved = tmp_path / "run" / "recipe.toml"
    saved.unlink()
    with pytest.raises(ValueError, match=r"is a run with another recipe \(seed: 12345 -> 1\)"):
        open_run(parse(["--recipe", str(DEMO), "--run_dir", str(tmp_path / "run"), "--seed", "1"]))
    assert not saved.exists()
    assert open_run(recipe) / "recipe.toml" == saved and saved.exists()


def test_a_new_beginning_is_asked_for_once(tmp_path):
    """The request for a new beginning is not kept in the run's recipe."""
    options = ["--recipe", str(DEMO), "--run_dir", str(tmp_path / "run"), "--restart_from_scratch", "true"]
    run = open_run(parse(options))
    assert (
        parse(options).restart_from_scratch and not parse(["--recipe", str(run / "recipe.toml")]).restart_from_scratch
    )


def test_foreign_directory_is_refused(tmp_path):
    """A directory that is not a run's is an error, and nothing is written to it."""
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="exists and is not a run"):
        open_run(parse(["--recipe", str(DEMO), "--run_dir", str(tmp_path)]))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
