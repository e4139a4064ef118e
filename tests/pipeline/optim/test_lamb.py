"""The LAMB update equals its equations, and reduces to known cases."""

import pytest
import torch

from pipeline.optim.lamb import OptimizerConfig, adam_direction_, takes_ratio, trust_ratios


def test_direction_equals_the_equations_in_float64():
    """Ten steps of moments and direction equal a float64 evaluation of Algorithm 2."""
    generator = torch.Generator().manual_seed(0)
    param = torch.randn(101, generator=generator)
    exp_avg, exp_avg_sq = torch.zeros(101), torch.zeros(101)
    m, v = torch.zeros(101, dtype=torch.float64), torch.zeros(101, dtype=torch.float64)
    for t in range(1, 11):
        grad = torch.randn(101, generator=generator)
        direction = adam_direction_(
            param, grad, exp_avg, exp_avg_sq, step=t, beta1=0.9, beta2=0.999, eps=1e-6, weight_decay=0.01
        )
        m, v = 0.9 * m + 0.1 * grad.double(), 0.999 * v + 0.001 * grad.double() ** 2
        expected = (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-6) + 0.01 * param.double()
        torch.testing.assert_close(direction.double(), expected, rtol=2e-5, atol=2e-6)


def test_direction_without_decay_is_adam():
    """With weight decay 0 and ratio 1 the update is torch's Adam."""
    param = torch.nn.Parameter(torch.linspace(-1, 1, 7))
    ours, exp_avg, exp_avg_sq = param.detach().clone(), torch.zeros(7), torch.zeros(7)
    adam = torch.optim.Adam([param], lr=0.1, eps=1e-6)
    for t in range(1, 5):
        param.grad = torch.sin(torch.arange(7.0) * t)
        adam.step()
        ours -= 0.1 * adam_direction_(
            ours, param.grad, exp_avg, exp_avg_sq, step=t, beta1=0.9, beta2=0.999, eps=1e-6, weight_decay=0.0
        )
    torch.testing.assert_close(ours, param.detach(), rtol=1e-5, atol=1e-6)


def test_ratio_is_one_where_a_norm_is_zero():
    """A zero weight or a zero direction takes a plain step."""
    ratios = trust_ratios(torch.tensor([4.0, 0.0, 9.0]).double(), torch.tensor([1.0, 1.0, 0.0]).double())
    assert ratios.tolist() == [2.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("variant", "weight_decay", "decayed", "expected"),
    [
        ("nvlamb", 0.01, True, True),
        ("nvlamb", 0.01, False, False),
        ("nvlamb", 0.0, True, False),
        ("paper", 0.0, True, True),
        ("paper", 0.01, False, False),
    ],
)
def test_variants_differ_only_without_weight_decay(variant, weight_decay, decayed, expected):
    """apex takes ratios where weight decay is not 0, tensorflow_addons everywhere outside the exclusion list."""
    assert takes_ratio(OptimizerConfig(variant=variant, weight_decay=weight_decay), decayed) is expected


@pytest.mark.parametrize(
    ("field", "value"), [("lr", -1.0), ("beta1", 1.0), ("eps", float("nan")), ("max_grad_norm", -0.5)]
)
def test_out_of_range_hyper_parameter_is_named(field, value):
    """The error names field and value."""
    with pytest.raises(ValueError, match=f"optimizer.{field} = {value}"):
        OptimizerConfig(**{field: value})
