"""The optimizers of other projects that benchmarks time compute the same as this project's."""

import pytest
from optimizer_cases import assert_equal_to, groups, run, stepped, weights

from benchmarks.oracles import timm_lamb
from pipeline.optim.lamb import OptimizerConfig


@pytest.mark.parametrize("variant", ["nvidia", "paper"])
def test_lamb_equals_timm(variant):
    """The `nvidia` variant equals timm's Lamb, and `paper` equals it with always_adapt for tensors without weight
    decay.
    """
    config = OptimizerConfig(lr=0.05, weight_decay=0.0 if variant == "paper" else 0.01, variant=variant)
    named = weights()
    always = [group | {"always_adapt": variant == "paper" and group["decayed"]} for group in groups(named)]
    for group in always:
        group["weight_decay"] = config.weight_decay if group["decayed"] else 0.0
    timm = timm_lamb()(always, lr=config.lr, eps=config.eps, max_grad_norm=None)
    assert_equal_to(run(config), stepped(timm, named, config.lr))
