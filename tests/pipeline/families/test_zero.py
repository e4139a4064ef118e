"""Every family under ZeRO on two ranks has the weights of one rank without it (law 4)."""

from functools import cache

import pytest
from family_runs import OPTIONS, prepared
from killed_runs import runs
from ranks import on_ranks
from recipes import tensors, write_recipe

STEPS = 3
LR = {"lamb": "1e-2", "muon": "1e-3"}
TOLERANCE = 1e-6
"""Of the norm of each tensor. A step has two micro-batches, whose gradients have the same sum on one rank and on two,
bit for bit. The norm by which gradients are clipped is added up in another order, and the gradients differ with it by
rounding. Single elements may differ by more, because LAMB and AdamW divide by their second moments."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a function that trains all families in turn and returns the directory of their runs."""
    folder = tmp_path_factory.mktemp("runs")
    data = {}
    for family in OPTIONS:
        (folder / family).mkdir()
        data[family] = prepared(folder / family, family, train=64)

    @cache
    def train(optimizer, ranks, stage):
        out = folder / f"{optimizer}-{ranks}-{stage}"
        out.mkdir()
        on_ranks(runs, ranks, [(arguments(out, family, optimizer, stage), None) for family in OPTIONS])
        return out

    def arguments(out, family, optimizer, stage):
        samples, options = data[family]
        recipe = write_recipe(out, samples, family, micro_batch_size=4, total_steps=STEPS)
        options = [*options, "--batch.global_batch_size", "8", "--evaluation.every", "0", "--engine.precision", "fp32"]
        options += ["--optimizer.name", optimizer, "--optimizer.lr", LR[optimizer]]
        return ["--recipe", str(recipe), *options, "--engine.deepspeed", f"ds_configs/zero{stage}_{{precision}}.json"]

    return train


@pytest.mark.timeout(1000)
@pytest.mark.parametrize(
    ("optimizer", "stage"),
    [
        ("lamb", 2),
        *(pytest.param("lamb", stage, marks=pytest.mark.slow) for stage in (0, 1, 3)),
        *(pytest.param("muon", stage, marks=pytest.mark.slow) for stage in (0, 1, 2, 3)),
    ],
)
def test_partitions_change_no_family(trained, optimizer, stage):
    """After three steps in fp32, every family has the same weights on two ranks at any stage as on one rank at stage 0,
    with LAMB and with Muon.
    """
    alone, divided = trained(optimizer, 1, 0), trained(optimizer, 2, stage)
    for family in OPTIONS:
        expected, found = tensors(alone / family, STEPS), tensors(divided / family, STEPS)
        assert expected.keys() == found.keys()
        for (part, name), value in expected.items():
            difference = (found[part, name] - value).norm()
            assert part != "weight" or difference <= TOLERANCE * value.norm(), (family, name, difference)
