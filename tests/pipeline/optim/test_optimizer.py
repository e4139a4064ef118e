"""Laws of pipeline/optim/optimizer.py: LAMB and AdamW equal their references step by step."""

import copy

import pytest
import torch
from optimizer_cases import (
    SHAPES,
    STEPS,
    assert_equal_to,
    bound,
    decayed,
    give_gradients,
    gradient,
    groups,
    run,
    stepped,
    weights,
)
from torch import nn

from pipeline.optim.lamb import OptimizerConfig
from pipeline.optim.optimizer import ShardedOptimizer
from pipeline.optim.shards import whole_tensors


def reference(config, lr_of, ratio_of, steps=STEPS):
    """Compute Algorithm 2 of the LAMB paper in float64, without code of the optimizer under test.

    `ratio_of(name, weight_norm, update_norm)` is the variant.
    """
    named = {name: p.detach() for name, p in weights(torch.float64).items()}
    m = {name: torch.zeros_like(p) for name, p in named.items()}
    v = {name: torch.zeros_like(p) for name, p in named.items()}
    history = []
    for t in range(1, steps + 1):
        for name, w in named.items():
            g = gradient(name, t).double()
            m[name] = config.beta1 * m[name] + (1 - config.beta1) * g
            v[name] = config.beta2 * v[name] + (1 - config.beta2) * g**2
            m_hat = m[name] / (1 - config.beta1**t) if config.bias_correction else m[name]
            v_hat = v[name] / (1 - config.beta2**t) if config.bias_correction else v[name]
            u = m_hat / (v_hat**0.5 + config.eps) + (config.weight_decay * w if decayed(name) else 0)
            factor = 1.0 if decayed(name) else config.adam_lr_factor
            w -= lr_of(t) * factor * ratio_of(name, w.norm().item(), u.norm().item()) * u
        history.append({name: w.clone() for name, w in named.items()})
    return history


def quotient(weight_norm, update_norm):
    return weight_norm / update_norm if weight_norm > 0 and update_norm > 0 else 1.0


RULES = {
    # apex multi_tensor_lamb_stage_2.cu: "if use_nvlamb or decay != 0", else the plain learning rate.
    "nvidia": lambda config: lambda name, w, u: quotient(w, u) if decayed(name) and config.weight_decay else 1.0,
    # tensorflow_addons lamb.py: _do_layer_adaptation(name), whatever the weight decay.
    "paper": lambda config: lambda name, w, u: quotient(w, u) if decayed(name) else 1.0,
}


@pytest.mark.parametrize("backend", ["plain", "cpu"])
@pytest.mark.parametrize("bias_correction", [True, False])
@pytest.mark.parametrize("weight_decay", [0.01, 0.0])
@pytest.mark.parametrize("variant", ["nvidia", "paper"])
def test_lamb_equals_its_equations_step_by_step(variant, weight_decay, bias_correction, backend):
    """Each variant equals an independent float64 evaluation, with a learning rate that changes."""
    config = OptimizerConfig(
        lr=0.05, variant=variant, weight_decay=weight_decay, bias_correction=bias_correction, backend=backend
    )
    assert_equal_to(run(config), reference(config, lambda t: 0.05 / t, RULES[variant](config)))


def test_tensors_without_a_ratio_take_their_own_rate():
    """Biases and LayerNorm take `adam_lr_factor` times the rate, and a factor of 1 changes no bit."""
    config = OptimizerConfig(lr=0.05, adam_lr_factor=0.2)
    history = run(config)
    assert_equal_to(history, reference(config, lambda t: 0.05 / t, RULES["nvidia"](config)))
    default = run(OptimizerConfig(lr=0.05))
    for name in SHAPES:
        assert torch.equal(history[-1][name], default[-1][name]) == decayed(name)


def test_adamw_is_torch_adamw():
    """AdamW equals torch.optim.AdamW with the same groups."""
    config = OptimizerConfig(name="adamw", lr=0.05, weight_decay=0.1)
    named = weights()
    theirs = [group | {"weight_decay": 0.1 if group["decayed"] else 0.0} for group in groups(named)]
    adamw = torch.optim.AdamW(theirs, lr=config.lr, betas=(config.beta1, config.beta2), eps=config.eps)
    assert_equal_to(run(config), stepped(adamw, named, config.lr))


def test_variants_coincide_on_bert():
    """With weight decay, and biases and LayerNorm on the exclusion list, both variants of LAMB have the same bits."""
    histories = [run(OptimizerConfig(lr=0.05, variant=variant)) for variant in ("nvidia", "paper")]
    assert all(torch.equal(a[name], b[name]) for a, b in zip(*histories, strict=True) for name in SHAPES)


def test_unbound_optimizer_does_not_step():
    """A step before the optimizer is bound, which DeepSpeed takes with zero gradients at construction, changes no
    weight.
    """
    parameter = nn.Parameter(torch.ones(4))
    optimizer = ShardedOptimizer([{"params": [parameter], "decayed": True}], OptimizerConfig())
    parameter.grad = torch.zeros(4)
    optimizer.step()
    assert torch.equal(parameter.detach(), torch.ones(4))


@pytest.mark.parametrize("odd", [torch.inf, -torch.inf, torch.nan])
def test_overflow_skips_the_step_whole(odd):
    """A skipped step changes no weight, moment or step count, and the next step is as if it had not happened."""
    named, optimizer = bound(clips=True)
    give_gradients(named)
    named["word.weight"].grad[0, 0] = odd
    optimizer.step()
    assert optimizer.overflow
    assert all(torch.equal(p.detach(), weights()[name].detach()) for name, p in named.items())
    assert all(shard.state["step"] == 0 and not shard.state["exp_avg"].any() for shard in optimizer.shards)
    give_gradients(named)
    optimizer.step()
    straight, other = bound(clips=True)
    give_gradients(straight)
    other.step()
    assert not optimizer.overflow
    assert all(torch.equal(p, straight[name]) for name, p in named.items())


@pytest.mark.parametrize("most", [0.0, 0.3, 1e6])
def test_gradients_are_clipped_by_the_norm_of_all(most):
    """The step equals one with gradients clipped beforehand, and the norm is computed in float64."""
    config = OptimizerConfig(lr=0.05, max_grad_norm=most)
    norm = sum(gradient(name, 1).double().square().sum() for name in SHAPES).sqrt().item()
    expected, optimizer = bound(config)
    for name, parameter in expected.items():
        parameter.grad = gradient(name, 1) * (min(1.0, most / (norm + 1e-6)) if most else 1.0)
    optimizer.step()
    named, optimizer = bound(config, clips=True)
    give_gradients(named)
    optimizer.step()
    assert optimizer.grad_norm == pytest.approx(norm, rel=1e-7)
    for name, parameter in expected.items():
        torch.testing.assert_close(named[name].detach(), parameter.detach(), rtol=1e-6, atol=1e-7)


def test_missing_gradient_is_an_error():
    """A missing gradient is an error that names the shard."""
    named, optimizer = bound()
    give_gradients(named)
    named["dense.weight"].grad = None
    with pytest.raises(RuntimeError, match=r"no gradient for the shard of dense\.weight"):
        optimizer.step()


def test_empty_groups_cost_nothing():
    """For the groups that ZeRO empties in turn, neither an update nor an all-reduce takes place."""
    calls = []
    named = {"weight": nn.Parameter(torch.ones(3)), "bias": nn.Parameter(torch.ones(3))}
    optimizer = ShardedOptimizer(groups(named), OptimizerConfig(lr=0.1))
    shards = whole_tensors((name, p, decayed(name)) for name, p in named.items())
    for shard in shards:
        shard.replicated = False
    optimizer.bind(shards, lambda sums: calls.append(tuple(sums.shape)))
    for parameter in named.values():
        parameter.grad = torch.ones(3)
    full = [group["params"] for group in optimizer.param_groups]
    for turn in (0, 1):
        for number, group in enumerate(optimizer.param_groups):
            group["params"] = full[number] if number == turn else []
        optimizer.step()
    assert calls == [(1, 2)]
    assert [shard.state["step"] for shard in shards] == [1, 1]


def test_adamw_needs_no_all_reduce():
    """AdamW has neither trust ratio nor norm, and calls no all-reduce."""

    def refuse(sums):
        raise AssertionError("reduced")

    named, optimizer = bound(OptimizerConfig(name="adamw"), all_reduce=refuse)
    for shard in optimizer.shards:
        shard.replicated = False
    give_gradients(named)
    optimizer.step()


def test_state_dict_continues_bit_for_bit():
    """A state dict that was saved and loaded into a new optimizer continues with the same bits."""
    named, optimizer = bound()
    give_gradients(named)
    optimizer.step()
    saved = copy.deepcopy(optimizer.state_dict())  # a state dict shares its tensors
    other_named, other = bound(named={name: nn.Parameter(p.detach().clone()) for name, p in named.items()})
    other.load_state_dict(saved)
    for tensors, stepper in ((named, optimizer), (other_named, other)):
        give_gradients(tensors, 2)
        stepper.step()
    assert all(torch.equal(named[name], other_named[name]) for name in SHAPES)
    assert [shard.state["step"] for shard in other.shards] == [2] * len(SHAPES)


def test_what_a_loader_writes_into_the_groups_changes_nothing():
    """DeepSpeed's universal loader may copy the first group's values into all groups (0.19.8, stage 3)
    without effect.
    """
    results = []
    for meddle in (False, True):
        named, optimizer = bound()
        if meddle:
            first = {key: value for key, value in optimizer.param_groups[0].items() if key != "params"}
            for group in optimizer.param_groups:
                group.update(first | {"weight_decay": 0.7})
        give_gradients(named)
        optimizer.step()
        results.append(named)
    assert all(torch.equal(results[0][name], results[1][name]) for name in SHAPES)


def test_stacked_parameter_is_several_tensors():
    """A parameter that stacks three tensors steps as three parameters do, wherever it is divided."""
    generator = torch.Generator().manual_seed(1)
    weight, grad = torch.randn(6, 5, generator=generator), torch.randn(6, 5, generator=generator)
    weight[:2] *= 50  # one part's ratio differs from the others'

    def stepped(tensors, grads, parts):
        parameters = [nn.Parameter(t.clone()) for t in tensors]
        optimizer = ShardedOptimizer([{"params": parameters, "decayed": True}], OptimizerConfig(lr=0.1))
        optimizer.bind(whole_tensors((f"t{i}", p, True) for i, p in enumerate(parameters)), lambda sums: sums, parts)
        for parameter, g in zip(parameters, grads, strict=True):
            parameter.grad = g.clone()
        optimizer.step()
        return torch.cat([p.detach() for p in parameters]), optimizer.last_ratios

    fused, ratios = stepped([weight], [grad], lambda name: 3)
    apart, _ = stepped(weight.chunk(3), grad.chunk(3), lambda name: 1)
    whole, _ = stepped([weight], [grad], lambda name: 1)
    assert torch.equal(fused, apart) and not torch.allclose(fused, whole)
    assert list(ratios) == ["t0.0", "t0.1", "t0.2"]
    assert ratios["t0.0"] > 10 * ratios["t0.1"]
