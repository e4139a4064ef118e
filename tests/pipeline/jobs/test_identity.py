"""Recipes and models are compared by field, whatever shapes their tensors have."""

from dataclasses import fields
from pathlib import Path

import pytest

from pipeline.families import family_names, get_family
from pipeline.jobs.identity import NOT_OF_THE_WEIGHTS, check_same_model, check_same_recipe, differences
from pipeline.model.config import EncoderConfig

MODEL = {"hidden_size": 32, "num_attention_heads": 2, "hidden_act": "gelu", "hidden_dropout_prob": 0.1}
RECIPE = {"seed": 1, "model": MODEL, "engine": {"precision": "fp32"}, "optimizer": {"lr": 0.1, "backend": "auto"}}
DEFAULTS = {"seed": 7, "optimizer.lr": 0.5, "optimizer.momentum": 0.95}


def test_what_a_resumed_run_may_change_is_no_difference():
    """A resumed run may have another precision and other kernels, but not another seed or learning rate."""
    other = {
        "seed": 2,
        "model": MODEL,
        "engine": {"precision": "bf16"},
        "optimizer": {"lr": 0.2, "backend": "plain"},
    }
    assert differences(RECIPE, other, DEFAULTS) == ["seed: 1 -> 2", "optimizer.lr: 0.1 -> 0.2"]
    assert differences(RECIPE | {"name": "demo"}, RECIPE | {"name": "mine"}, DEFAULTS) == []


def test_a_field_that_the_run_does_not_have_has_its_default():
    """A run of an earlier version was trained with the default of a later field; a removed field is not compared."""
    new = RECIPE | {"optimizer": RECIPE["optimizer"] | {"momentum": 0.95}}
    assert differences(RECIPE | {"removed": 1}, new, DEFAULTS) == []
    new["optimizer"] |= {"momentum": 0.9}
    assert differences(RECIPE, new, DEFAULTS) == ["optimizer.momentum: 0.95 -> 0.9"]


def test_a_value_is_compared_by_its_present_name():
    """The old name of NVIDIA's variant of LAMB in an earlier version's checkpoint is no difference."""
    old, new, other = (RECIPE | {"optimizer": {"variant": variant}} for variant in ("nvlamb", "nvidia", "paper"))
    check_same_recipe(Path("step-1"), old, new, DEFAULTS)
    assert (
        differences(old, other, DEFAULTS) == differences(new, other, DEFAULTS) == ["optimizer.variant: nvidia -> paper"]
    )


def test_a_checkpoint_of_another_recipe_is_refused_by_field():
    """The error names the checkpoint and the remedy."""
    check_same_recipe(Path("step-1"), RECIPE, RECIPE, DEFAULTS)
    with pytest.raises(ValueError, match=r"step-1: was written by a run with another recipe \(seed: 1 -> 2\); move it"):
        check_same_recipe(Path("step-1"), RECIPE, RECIPE | {"seed": 2}, DEFAULTS)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("num_attention_heads", 4, "model.num_attention_heads = 4: init_from = step-1 has 2; set it to that"),
        ("hidden_act", "gelu_new", "model.hidden_act = gelu_new: init_from = step-1 has gelu"),
        ("hidden_dropout_prob", 0.0, None),
    ],
)
def test_a_model_that_computes_something_else_is_refused(field, value, message):
    """A model with tensors of the same shapes that computes something else is refused; another dropout is accepted."""
    state = {"family": "bert", "model": MODEL}
    if message is None:
        check_same_model(Path("step-1"), state, "bert", MODEL | {field: value})
        return
    with pytest.raises(ValueError, match=message):
        check_same_model(Path("step-1"), state, "bert", MODEL | {field: value})


def test_another_family_is_refused():
    """The error names the other family."""
    with pytest.raises(ValueError, match="family = bert: init_from = step-1 is of family electra"):
        check_same_model(Path("step-1"), {"family": "electra", "model": {}}, "bert", {})


def test_fields_of_one_family_are_named_by_the_family():
    """Shared code names fields of all configurations alone; a family names those of its own that may differ."""
    shared = {each.name for each in fields(EncoderConfig)}
    assert shared >= NOT_OF_THE_WEIGHTS
    for name in family_names():
        family = get_family(name)
        own = {each.name for each in fields(family.config)} - shared
        assert own >= set(family.free_fields)
        assert all(form.free_fields == family.free_fields for form in family.variants)


def test_a_field_that_a_family_frees_may_differ():
    """A run may start from a checkpoint with another base of the rotary positions, but not with another window."""
    state = {"family": "modernbert", "model": {"global_rope_theta": 1e4, "local_attention": 128}}
    check_same_model(Path("step-1"), state, "modernbert", state["model"] | {"global_rope_theta": 1.6e5})
    with pytest.raises(ValueError, match=r"model.local_attention = 64: init_from = step-1 has 128"):
        check_same_model(Path("step-1"), state, "modernbert", state["model"] | {"local_attention": 64})
