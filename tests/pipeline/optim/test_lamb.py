"""Laws of pipeline/optim/lamb.py: trust ratios, and the tensors that take them."""

import pytest
import torch

from pipeline.optim.lamb import OptimizerConfig, coefficients, takes_ratio, trust_ratios


def test_ratio_is_one_where_a_norm_is_zero():
    """If the weight or the direction is zero, the ratio is 1."""
    ratios = trust_ratios(torch.tensor([4.0, 0.0, 9.0]).double(), torch.tensor([1.0, 1.0, 0.0]).double())
    assert ratios.tolist() == [2.0, 1.0, 1.0]


def test_ratio_forgives_the_order_of_the_sums():
    """Norms are rounded to float32 first, so the last bits of a float64 sum do not change the ratio."""
    sums = torch.rand(2, 1000, dtype=torch.float64) * 1e4
    assert torch.equal(trust_ratios(*sums), trust_ratios(*(sums * (1 + 2e-16))))


@pytest.mark.parametrize(
    ("name", "variant", "weight_decay", "decayed", "expected"),
    [
        ("lamb", "nvidia", 0.01, True, True),
        ("lamb", "nvidia", 0.01, False, False),
        ("lamb", "nvidia", 0.0, True, False),
        ("lamb", "paper", 0.0, True, True),
        ("lamb", "paper", 0.01, False, False),
        ("adamw", "nvidia", 0.01, True, False),
        ("muon", "nvidia", 0.01, True, False),
    ],
)
def test_who_takes_a_ratio(name, variant, weight_decay, decayed, expected):
    """`nvidia` applies ratios where weight decay is not 0, `paper` everywhere outside the exclusion list, AdamW
    nowhere.
    """
    config = OptimizerConfig(name=name, variant=variant, weight_decay=weight_decay)
    assert takes_ratio(config, decayed) is expected


def test_only_decayed_tensors_decay():
    """Biases and LayerNorm, which are on BERT's exclusion list, take no decay."""
    config = OptimizerConfig(weight_decay=0.3)
    assert coefficients(config, lr=1.0, step=1, decayed=True).weight_decay == 0.3
    assert coefficients(config, lr=1.0, step=1, decayed=False).weight_decay == 0.0


def test_only_tensors_without_a_ratio_take_the_factor():
    """Only biases and LayerNorm, which have no trust ratio, take the factor of their own rate."""
    config = OptimizerConfig(adam_lr_factor=0.2)
    assert coefficients(config, lr=0.014, step=1, decayed=True).lr == 0.014
    assert coefficients(config, lr=0.014, step=1, decayed=False).lr == 0.014 * 0.2
    assert coefficients(OptimizerConfig(), lr=0.014, step=1, decayed=False).lr == 0.014


@pytest.mark.parametrize(
    ("field", "value"), [("lr", -1.0), ("beta1", 1.0), ("eps", float("nan")), ("max_grad_norm", -0.5)]
)
def test_out_of_range_hyper_parameter_is_named(field, value):
    """The error for a value out of range names field and value."""
    with pytest.raises(ValueError, match=f"optimizer.{field} = {value}"):
        OptimizerConfig(**{field: value})


def test_variant_of_another_optimizer_is_refused():
    """A variant of another optimizer, which would be ignored, is an error."""
    with pytest.raises(ValueError, match=r"optimizer.variant = paper: a variant of lamb"):
        OptimizerConfig(name="adamw", variant="paper")
