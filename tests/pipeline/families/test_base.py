"""Laws of pipeline/families/__init__.py and base.py, for every family there is."""

import subprocess
import sys

import pytest
import torch

from pipeline.conversion.parts import divide
from pipeline.families import family_names, get_family
from pipeline.model.flops import measure


def test_an_unknown_family_is_refused():
    """The error for an unknown family names it and the known families."""
    with pytest.raises(
        ValueError,
        match=r"family = bort: must be one of albert, bert, deberta, .*, modernbert, roberta, spanbert$",
    ):
        get_family("bort")


@pytest.mark.parametrize("name", family_names())
def test_a_family_is_found_by_its_own_name(name):
    """A family has the name of its file, and its model has the parameters that the family declares."""
    family = get_family(name)
    assert family.name == name
    config = family.config(hidden_size=8, num_hidden_layers=3, num_attention_heads=2, intermediate_size=8)
    assert family.of(config) is family and all(form.name == name for form in family.variants)
    with torch.device("meta"):
        state = family.build(config, 11).state_dict()
    assert state[family.word_embeddings].shape[0] == 11
    layers = [parameter for parameter in state if parameter.startswith("encoder.") and parameter.endswith(family.layer)]
    assert len(layers) == config.distinct_layers
    for part in divide(family, config, state):
        named = set(part.family.export.names(config.distinct_layers))
        assert set(part.state_dict) <= named and named - set(part.state_dict) <= set(part.family.export.optional)


@pytest.mark.parametrize("name", family_names())
def test_the_operations_of_every_family_are_counted(name):
    """A masked token counts at least the products with the vocabulary, forward and backward."""
    family = get_family(name)
    config = family.config(hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8)
    assert measure(lambda config: family.build(config, 50), config).per_masked >= 6 * 8 * 50


def test_families_are_declared_without_libraries_that_compute():
    """Reading a recipe and showing a help text import neither torch nor numpy."""
    names = ", ".join(f"pipeline.families.{name}" for name in family_names())
    code = f"import sys, {names}; sys.exit(any(name in sys.modules for name in ('torch', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code], timeout=600).returncode == 0
