"""Small tensors and their gradients, on which tests compare optimizers."""

import torch
from torch import nn

from pipeline.optim.lamb import OptimizerConfig
from pipeline.optim.optimizer import ShardedOptimizer
from pipeline.optim.shards import whole_tensors

SHAPES = {
    "dense.weight": (17, 5),
    "dense.bias": (17,),
    "norm.weight": (5,),
    "word.weight": (31, 3),
    "zero.weight": (4,),
}
STEPS = 12


def decayed(name):
    return name.endswith("weight") and "norm" not in name


def weights(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    drawn = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
    drawn["zero.weight"].zero_()  # a norm of zero takes a ratio of one
    return {name: nn.Parameter(values.to(dtype)) for name, values in drawn.items()}


def gradient(name, step):
    generator = torch.Generator().manual_seed(100 * step + sorted(SHAPES).index(name))
    return torch.randn(SHAPES[name], generator=generator) * (0.5 if step % 3 else 4.0)


def groups(named):
    return [
        {"params": [p for name, p in named.items() if decayed(name) == flag], "decayed": flag} for flag in (True, False)
    ]


def run(config, steps=STEPS):
    """Return the weights after each step of this project's optimizer on whole tensors."""
    named = weights()
    optimizer = ShardedOptimizer(groups(named), config)
    optimizer.bind(whole_tensors((name, p, decayed(name)) for name, p in named.items()), lambda sums: sums)
    history = []
    for step in range(1, steps + 1):
        for name, parameter in named.items():
            parameter.grad = gradient(name, step)
        optimizer.set_lr(config.lr / step)
        optimizer.step()
        history.append({name: parameter.detach().clone() for name, parameter in named.items()})
    return history


def stepped(optimizer, named, lr, steps=STEPS):
    """Return the weights after each step of another optimizer, with the gradients and rates of `run`."""
    history = []
    for step in range(1, steps + 1):
        give_gradients(named, step)
        for group in optimizer.param_groups:
            group["lr"] = lr / step
        optimizer.step()
        history.append({name: parameter.detach().clone() for name, parameter in named.items()})
    return history


def assert_equal_to(history, expected, rtol=1e-5):
    for step, (ours, theirs) in enumerate(zip(history, expected, strict=True), 1):
        for name in SHAPES:
            torch.testing.assert_close(
                ours[name].double(), theirs[name].double(), rtol=rtol, atol=2e-6, msg=lambda m, s=step: f"step {s}: {m}"
            )


def bound(config=None, named=None, all_reduce=lambda sums: sums, clips=False):
    named = named or weights()
    optimizer = ShardedOptimizer(groups(named), config or OptimizerConfig(lr=0.05), clips=clips)
    optimizer.bind(whole_tensors((name, p, decayed(name)) for name, p in named.items()), all_reduce)
    return named, optimizer


def give_gradients(named, step=1):
    for name, parameter in named.items():
        parameter.grad = gradient(name, step)
