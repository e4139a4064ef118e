"""Laws of pipeline/optim/optimizer.py with Muon; those of its updates are in test_matrices.py and test_muon.py."""

import copy

import torch
from optimizer_cases import SHAPES, decayed, give_gradients, groups, weights
from torch import nn

from pipeline.optim.lamb import OptimizerConfig
from pipeline.optim.optimizer import ShardedOptimizer
from pipeline.optim.shards import whole_tensors


def test_muon_updates_other_tensors_as_adamw_does():
    """Muon updates the other tensors as AdamW does, bit for bit; matrices have one moment, and both
    count their steps.
    """
    ends = {}
    for name in ("muon", "adamw"):
        named = weights()
        optimizer = ShardedOptimizer(groups(named), OptimizerConfig(name=name, lr=0.05))
        muon = {"dense.weight", "word.weight"} if name == "muon" else set()
        optimizer.bind(whole_tensors(((n, p, decayed(n)) for n, p in named.items()), muon), lambda sums: sums)
        for step in (1, 2):
            give_gradients(named, step)
            optimizer.step()
        ends[name] = named
        assert [shard.state["step"] for shard in optimizer.shards] == [2] * len(SHAPES)
        assert [len(shard.moments) for shard in optimizer.shards] == [1 if n in muon else 2 for n in SHAPES]
    for name in SHAPES:
        assert torch.equal(ends["muon"][name], ends["adamw"][name]) == (name not in ("dense.weight", "word.weight"))


def test_muon_continues_from_its_state_dict_bit_for_bit():
    """Momentum and step count are in torch's optimizer state, from which Muon continues bit for bit."""
    config = OptimizerConfig(name="muon", lr=0.05)

    def made(named):
        optimizer = ShardedOptimizer(groups(named), config)
        tensors = ((name, p, decayed(name)) for name, p in named.items())
        optimizer.bind(whole_tensors(tensors, {"dense.weight", "word.weight"}), lambda sums: sums)
        return optimizer

    named = weights()
    optimizer = made(named)
    give_gradients(named)
    optimizer.step()
    saved = copy.deepcopy(optimizer.state_dict())
    other_named = {name: nn.Parameter(p.detach().clone()) for name, p in named.items()}
    other = made(other_named)
    other.load_state_dict(saved)
    for tensors, stepper in ((named, optimizer), (other_named, other)):
        give_gradients(tensors, 2)
        stepper.step()
    assert all(torch.equal(named[name], other_named[name]) for name in SHAPES)
