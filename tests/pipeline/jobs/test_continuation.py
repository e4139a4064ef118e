"""A written recipe starts from its checkpoint with the checkpoint's model."""

import tomllib
from dataclasses import asdict, replace

import pytest
import torch

from pipeline.checkpoints import checkpoint
from pipeline.config import parse
from pipeline.conversion.importing import imported_state
from pipeline.families import get_family
from pipeline.jobs import continuation


@pytest.fixture(params=["bert", "roberta", "spanbert"])
def source(request, tmp_path):
    """A directory with the state of an imported checkpoint of each family."""
    family = get_family(request.param)
    config = family.config(32, 2, 4, 64, hidden_act="gelu_new", layer_norm_eps=3e-7, hidden_dropout_prob=0.0)
    if request.param == "bert":
        config = replace(config, next_sentence=False, max_position_embeddings=40)
    directory = tmp_path / "start"
    directory.mkdir()
    state = imported_state(family.name, config, 60, {"a": torch.ones(1)})
    checkpoint.write_json(directory / "state.json", state)
    return directory, family.name, config


def test_what_a_recipe_must_state(source):
    """The printed part is TOML with the family, the checkpoint, and every field of the model without its default."""
    directory, family, config = source
    values = tomllib.loads(continuation.beginning(directory))
    assert values["family"] == family and values["init_from"] == str(directory)
    assert type(config)(**values["model"]) == config
    assert "initializer_range" not in values["model"]


def test_a_written_recipe_parses(source, tmp_path):
    """The recipe has the model of the checkpoint, samples that fit it, and else the values of continue_domain."""
    directory, family, config = source
    path = tmp_path / "new" / "mine.toml"
    continuation.write_recipe(directory, path)
    recipe, template = parse(["--recipe", str(path)]), parse(["--recipe", "continue_domain"])
    assert asdict(recipe.model) == asdict(config) and recipe.init_from == str(directory)
    kind = get_family(family).of(config).samples[0]
    assert str(recipe.data.samples) == f"data/samples{40 if family == 'bert' else 512}-{kind}"
    assert (recipe.optimizer, recipe.schedule, recipe.batch) == (template.optimizer, template.schedule, template.batch)
    assert getattr(recipe.masking, "max_predictions", 0) == 0, "as many masked tokens in long samples as in short ones"
    assert recipe.run_dir == "runs/mine" and str(directory / "tokenizer") in path.read_text()
    with pytest.raises(ValueError, match=r"--recipe .*mine.toml: exists"):
        continuation.write_recipe(directory, path)


def test_texts_and_numbers_are_written_as_toml():
    """Every value that a recipe can have is read back by a TOML reader as it was."""
    values = {"a": 'tricky "text" \\ é', "b": {"yes": True, "rate": 1e-12, "number": 3, "list": ["x", "y"]}}
    assert tomllib.loads(continuation.toml(values)) == values
