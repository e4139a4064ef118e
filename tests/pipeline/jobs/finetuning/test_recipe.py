"""The recipe of a fine-tuning: precedence, published settings, checks."""

import json

import pytest
from jsonargparse import ArgumentError

from pipeline.families import family_names, get_family
from pipeline.jobs.finetuning.recipe import MAY_CHANGE, defaults, parse, plain, to_toml
from pipeline.jobs.identity import differences

NEEDED = ["--model", "nowhere", "--data", "data"]


@pytest.fixture
def model(tmp_path):
    """Makes a directory with nothing but the configuration of a family."""

    def write(family, **fields):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": family, **fields}))
        return str(tmp_path)

    return write


def test_settings_of_the_family_and_the_task(model):
    """The command line takes precedence over the published settings of the task, and these over those of the family."""
    bert = parse(["mrpc", "--model", model("bert"), "--data", "data"])
    assert (bert.optimizer.lr, bert.training.epochs, bert.training.batch_size) == (2e-5, 5, 32)
    roberta = parse(["rte", "--model", model("roberta"), "--data", "data", "--training.epochs", "2"])
    assert (roberta.optimizer.lr, roberta.training.epochs, roberta.training.batch_size) == (2e-5, 2, 16)
    assert (roberta.optimizer.beta2, roberta.optimizer.name) == (0.98, "adamw")


@pytest.mark.parametrize("family", family_names())
def test_windows_of_squad_are_long(model, family):
    """Every family has settings for SQuAD, whose contexts need windows longer than the texts of GLUE."""
    kind = get_family(family).model_type or family
    assert parse(["squad", "--model", model(kind), "--data", "data"]).text.max_length >= 384


@pytest.mark.parametrize(
    ("kind", "task", "base", "large"),
    [
        ("electra", "sst2", (1e-4, 0.8, 3), (5e-5, 0.9, 3)),
        ("electra", "rte", (1e-4, 0.8, 10), (5e-5, 0.9, 10)),
        ("deberta-v2", "cola", (2e-5, 1, 6), (7e-6, 1, 6)),
        ("deberta-v2", "qqp", (2e-5, 1, 8), (1e-5, 1, 8)),
        ("bert", "sst2", (2e-5, 1, 3), (2e-5, 1, 3)),
    ],
)
def test_settings_of_large_models(model, kind, task, base, large):
    """Models with 1,024 hidden units or more have the rates of large ones; the rest is that of the task."""
    for units, expected in ((768, base), (1024, large), ("no number", base)):
        recipe = parse([task, "--model", model(kind, hidden_size=units), "--data", "data"])
        found = (recipe.optimizer.lr, recipe.training.layer_decay, recipe.training.epochs)
        assert found == expected


def test_a_written_recipe_is_read_as_it_is(model, tmp_path):
    """A written recipe takes precedence over the published settings, also where its values differ from them."""
    recipe = parse(["cola", "--model", model("roberta"), "--data", "data", "--optimizer.lr", "7e-5", "--seed", "3"])
    (tmp_path / "recipe.toml").write_text(to_toml(recipe))
    assert parse(["--recipe", str(tmp_path / "recipe.toml")]) == recipe
    assert parse(["--recipe", str(tmp_path / "recipe.toml"), "--seed", "4"]).optimizer == recipe.optimizer


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense", *NEEDED], "task = nonsense: must be one of cola, sst2"),
        (["sst2", *NEEDED, "--training.epochs", "0"], "training.epochs = 0: must be at least 1"),
        (["sst2", *NEEDED, "--training.epoch", "2"], "unknown option --training.epoch; did you mean --training.epochs"),
        (["sst2", *NEEDED, "--training.layer_decay", "0"], "training.layer_decay = 0.0: must be above 0"),
        (["sst2", *NEEDED, "--optimizer.name", "lamb"], "optimizer.name = lamb: must be adamw"),
        (["sst2", *NEEDED, "--text.max_length", "2"], "text.max_length = 2: must be at least 3"),
        (["sst2", "--data", "data"], "model"),
        (["squad", *NEEDED, "--squad.stride", "0"], "squad.stride = 0: must be at least 1"),
        (["squad", *NEEDED, "--squad.dev_share", "1"], "squad.dev_share = 1.0: must be at least 0 and below 1"),
        (
            ["squad", *NEEDED, "--squad.dev_share", "0.5", "--squad.dev", "a"],
            "squad.dev = a: squad.dev_share takes dev",
        ),
        (["squad", *NEEDED, "--squad.train", "../a"], "squad.train = ../a: must be the name of a file in data"),
        (
            ["squad", *NEEDED, "--training.class_weights", "balanced"],
            "class_weights = balanced: squad has no class weights",
        ),
    ],
)
def test_wrong_command_lines(arguments, message):
    """A wrong option is one error that names the option and its rule."""
    with pytest.raises((ArgumentError, ValueError), match=message):
        parse(arguments)


def test_what_a_resumed_run_may_change(model):
    """A resumed run may have other directories, logs and parts of a batch, but nothing that changes its result."""
    arguments = ["sst2", "--model", model("bert"), "--data", "data"]
    before = plain(parse(arguments))
    for changes, expected in (
        (["--training.max_tokens", "64", "--logging.every", "1"], []),
        (["--seed", "2"], ["seed: 1 -> 2"]),
    ):
        assert differences(before, plain(parse([*arguments, *changes])), defaults(), MAY_CHANGE) == expected


def test_a_field_of_a_later_version_has_its_default_in_an_earlier_run(model):
    """A recipe without a field is that of its default, so that a resumed run may not set another value."""
    arguments = ["rte", "--model", model("bert"), "--data", "data"]
    before = plain(parse(arguments))
    del before["training"]["patience"]
    assert differences(before, plain(parse(arguments)), defaults(), MAY_CHANGE) == []
    changed = plain(parse([*arguments, "--training.patience", "3"]))
    assert differences(before, changed, defaults(), MAY_CHANGE) == ["training.patience: 0 -> 3"]
