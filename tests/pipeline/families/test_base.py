"""Laws of pipeline/families/__init__.py and base.py, for every family there is."""

import pytest
import torch

from pipeline.families import FAMILIES, get_family
from pipeline.families.base import fill_ties, rename_from_huggingface, rename_to_huggingface

NAMES = {"stacked": ("top", "bottom"), "plain": ("other",)}


def test_an_unknown_family_is_refused():
    """The error names what was asked for and what there is."""
    with pytest.raises(ValueError, match="family='brat' is unknown: choose one of bert"):
        get_family("brat")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_found_by_its_own_name(name):
    """The registry's key is the family's name, and its model has the word embedding it says it has."""
    family = get_family(name)
    assert family.name == name
    config = family.config_class(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    with torch.device("meta"):
        assert family.build(config, 11).state_dict()[family.word_embeddings].shape[0] == 11


def test_renaming_cuts_and_stacks():
    """A stacked parameter is cut along its first dimension, and stacked again in the same order."""
    state = {"stacked": torch.arange(8.0).view(4, 2), "plain": torch.ones(3)}
    renamed = rename_to_huggingface(state, NAMES)
    assert torch.equal(renamed["bottom"], state["stacked"][2:])
    back = rename_from_huggingface(renamed, NAMES)
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_renaming_names_the_first_strangers():
    """An error lists a few names and how many more there are."""
    strangers = {f"x{i}": torch.zeros(1) for i in range(7)}
    with pytest.raises(ValueError, match="missing plain, stacked; unknown x0, x1, x2, x3, x4 and 2 more"):
        rename_to_huggingface(strangers, NAMES)


def test_ties_fill_only_what_is_absent():
    """An alias that is there stays, one that is not takes its source, and a missing source invents nothing."""
    one, two = torch.ones(1), torch.zeros(1)
    assert fill_ties({"a": one}, {"b": "a"})["b"] is one
    assert fill_ties({"a": one, "b": two}, {"b": "a"})["b"] is two
    assert fill_ties({}, {"b": "a"}) == {}
