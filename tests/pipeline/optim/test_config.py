"""Values of `[optimizer]` that are out of range, or contradict each other, are errors that name the field."""

import math

import pytest

from pipeline.optim.config import OptimizerConfig


@pytest.mark.parametrize("field", ["lr", "beta1", "beta2", "eps", "weight_decay", "max_grad_norm"])
@pytest.mark.parametrize("wrong", [-1e-9, math.nan])
def test_no_number_is_negative(field, wrong):
    """Zero is accepted; negative numbers and NaN are errors."""
    OptimizerConfig(**{field: 0.0})
    with pytest.raises(ValueError, match=rf"^optimizer.{field} = .*: must be at least 0"):
        OptimizerConfig(**{field: wrong})


@pytest.mark.parametrize("field", ["beta1", "beta2"])
def test_decays_are_below_one(field):
    """Decays must be below 1, since the bias correction divides by 1 - beta**step."""
    with pytest.raises(ValueError, match=rf"^optimizer.{field} = 1.0: must be at least 0 and below 1"):
        OptimizerConfig(**{field: 1.0})


def test_a_variant_of_lamb_needs_lamb():
    """AdamW with a variant of LAMB is an error."""
    with pytest.raises(ValueError, match=r"^optimizer.variant = paper: .* but optimizer.name is adamw"):
        OptimizerConfig(name="adamw", variant="paper")


@pytest.mark.parametrize("wrong", [-0.1, 1.0, math.nan])
def test_momentum_is_a_decay(wrong):
    """Muon's momentum must be at least 0 and below 1."""
    OptimizerConfig(name="muon", momentum=0.0)
    with pytest.raises(ValueError, match=r"^optimizer.momentum = .*: must be at least 0 and below 1"):
        OptimizerConfig(name="muon", momentum=wrong)


@pytest.mark.parametrize(
    ("name", "field", "value", "owner"),
    [
        ("lamb", "momentum", 0.9, "muon"),
        ("adamw", "momentum", 0.9, "muon"),
        ("adamw", "adam_lr_factor", 0.2, "lamb and muon"),
    ],
)
def test_a_setting_of_another_optimizer_is_refused(name, field, value, owner):
    """A setting of another optimizer, which would be ignored, is an error."""
    OptimizerConfig(name=owner.split()[-1], **{field: value})
    message = rf"^optimizer.{field} = {value}: a setting of {owner}, but optimizer.name is {name}; remove it"
    with pytest.raises(ValueError, match=message):
        OptimizerConfig(name=name, **{field: value})
