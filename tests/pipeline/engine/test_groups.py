"""Laws of pipeline/engine/groups.py."""

import pytest
import torch
from torch import nn

from pipeline.engine.groups import parameter_groups
from pipeline.optim.parameters import Parameters


def test_tied_weights_are_in_one_group_once():
    """Every parameter, tied ones included, is in exactly one group; biases and norms are in the group without decay."""
    model = nn.ModuleDict({"word": nn.Embedding(5, 3), "norm": nn.LayerNorm(3), "decoder": nn.Linear(3, 5)})
    model["decoder"].weight = model["word"].weight
    decayed, plain = parameter_groups(model, Parameters(lambda name: not ("norm" in name or name.endswith("bias"))))
    assert decayed["decayed"] and not plain["decayed"]
    assert [id(p) for p in decayed["params"]] == [id(model["word"].weight)]
    assert sum(torch.numel(p) for p in plain["params"]) == 3 + 3 + 5


def test_matrices_of_layers_are_in_a_group_of_their_own_under_muon():
    """Under Muon, matrices of layers have a group of their own, so that a flat partition has only matrices or none; a
    model without such matrices is an error.
    """
    model = nn.ModuleDict({"word": nn.Embedding(5, 3), "layer": nn.Linear(3, 4)})
    family = Parameters(lambda name: name.endswith("weight"), is_matrix=lambda name: name == "layer.weight")
    found = [
        ([tuple(p.shape) for p in group["params"]], group["decayed"], group["muon"])
        for group in parameter_groups(model, family, muon=True)
    ]
    assert found == [([(4, 3)], True, True), ([(5, 3)], True, False), ([(4,)], False, False)]
    assert not any(group["muon"] for group in parameter_groups(model, family))
    with pytest.raises(ValueError, match=r"^optimizer.name = muon: no trained parameter is a matrix of a layer"):
        parameter_groups(model, Parameters(lambda name: True), muon=True)


def test_what_takes_no_gradients_is_in_no_group():
    """A frozen parameter is in no group."""
    model = nn.ModuleDict({"word": nn.Embedding(5, 3), "head": nn.Linear(3, 5)})
    model["word"].weight.requires_grad_(False)
    groups = parameter_groups(model, Parameters(lambda name: name.endswith("weight")))
    assert [[id(p) for p in group["params"]] for group in groups] == [
        [id(model["head"].weight)],
        [id(model["head"].bias)],
    ]
