"""Under any partition Muon's update is that of whole matrices, which equals the equations (law 4)."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import SimulatedRanks
from torch import nn

from pipeline.optim import muon
from pipeline.optim.config import OptimizerConfig
from pipeline.optim.matrices import matrix_sets
from pipeline.optim.optimizer import ShardedOptimizer
from pipeline.optim.shards import Fragment, Shard, fragments_of_partition, whole_tensors

CONFIG = OptimizerConfig(name="muon", lr=0.02, weight_decay=0.1)


def stacks_of(name):
    return 3 if name.startswith("qkv") else 1


def draw(shapes, seed, steps=3):
    """Return weights, and the gradients of each step, by name; `qkv` stacks three matrices of its shape."""
    generator = torch.Generator().manual_seed(seed)
    return [{name: torch.randn(shape, generator=generator) for name, shape in shapes.items()} for _ in range(steps + 1)]


def reference(weights, gradients, stacks=stacks_of):
    """Compute Muon in float64 on whole matrices from the equations: the iteration acts on the singular values."""
    weights = {name: w.double().clone() for name, w in weights.items()}
    momentum = {name: torch.zeros_like(w) for name, w in weights.items()}
    for grads in gradients:
        for name in weights:
            for part, m, g in zip(*(x[name].chunk(stacks(name)) for x in (weights, momentum, grads)), strict=True):
                m.mul_(0.95).add_(g.double(), alpha=0.05)
                left, values, right = torch.linalg.svd(0.95 * m + 0.05 * g.double(), full_matrices=False)
                values = values / values.norm()
                for _ in range(5):
                    values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
                orthogonal = left @ torch.diag(values) @ right
                part.sub_(CONFIG.lr * (0.2 * max(part.shape) ** 0.5 * orthogonal + CONFIG.weight_decay * part))
    return weights


def trained_whole(weights, gradients):
    """Return weights and momentum after all steps on whole tensors in one process."""
    named = {name: nn.Parameter(w.clone()) for name, w in weights.items()}
    optimizer = ShardedOptimizer([{"params": list(named.values())}], CONFIG)
    shards = whole_tensors(((name, p, True) for name, p in named.items()), set(named))
    optimizer.bind(shards, lambda sums: sums, stacks_of)
    for grads in gradients:
        for name, parameter in named.items():
            parameter.grad = grads[name].clone()
        optimizer.step()
    assert all(shard.state.keys() == {"exp_avg", "step"} for shard in shards)
    return torch.cat([p.detach().view(-1) for p in named.values()]), torch.cat([s.state["exp_avg"] for s in shards])


class Partitioned:
    """The concatenated tensors in equal partitions, with `gaps` elements of NaN behind each tensor."""

    def __init__(self, shapes, size, gaps):
        self.shapes, self.size = shapes, size
        self.sizes = [torch.Size(shape).numel() for shape in shapes.values()]
        self.offsets = torch.tensor([0, *(numel + gaps for numel in self.sizes)]).cumsum(0).tolist()
        self.chunk = -(-self.offsets.pop() // size)

    def buffer(self, tensors):
        flat = torch.full((self.chunk * self.size,), torch.nan)
        for offset, tensor in zip(self.offsets, tensors.values(), strict=True):
            flat[offset : offset + tensor.numel()] = tensor.view(-1)
        return flat

    def elements(self, flat):
        ours = torch.cat([flat[o : o + numel] for o, numel in zip(self.offsets, self.sizes, strict=True)])
        padding = torch.ones(len(flat), dtype=torch.bool)
        for offset, numel in zip(self.offsets, self.sizes, strict=True):
            padding[offset : offset + numel] = False
        return ours, flat[padding]

    def trained(self, weights, gradients, world):
        """Return weights and momentum after all steps on the simulated ranks, and the padding."""
        flat, grads = self.buffer(weights), [self.buffer(g) for g in gradients]

        def run(rank):
            here = slice(rank * self.chunk, (rank + 1) * self.chunk)
            parameter = nn.Parameter(flat[here].clone())
            fragments = fragments_of_partition(self.sizes, self.offsets, here.start, self.chunk)
            shard = Shard(tuple(self.shapes), tuple(self.shapes.values()), parameter, fragments, True, muon=True)
            optimizer = ShardedOptimizer([{"params": [parameter]}], CONFIG)
            optimizer.bind([shard], lambda sums: sums, stacks_of, world.ranks(rank))
            for gradient in grads:
                parameter.grad = gradient[here].clone()
                optimizer.step()
            return parameter.detach(), shard.state["exp_avg"]

        weights, momenta = (torch.cat(parts) for parts in zip(*world.run(run), strict=True))
        return *self.elements(weights), self.elements(momenta)[0]


@settings(max_examples=15, deadline=None)
@given(
    shapes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=6),
    size=st.sampled_from([1, 2, 3, 7, 16, 64]),
    gaps=st.integers(0, 5),
    seed=st.integers(0, 2**16),
)
def test_any_partition_equals_whole_matrices_bit_for_bit(shapes, size, gaps, seed):
    """Odd sizes, stacks, matrices over several ranks, and ranks with NaN padding only give the same bits as whole
    matrices.
    """
    shapes = {f"w{n}": shape for n, shape in enumerate(shapes)} | {"qkv": (3 * shapes[0][0], shapes[0][1])}
    weights, *gradients = draw(shapes, seed, steps=2)
    found, padding, momentum = Partitioned(shapes, size, gaps).trained(weights, gradients, SimulatedRanks(size))
    expected, expected_momentum = trained_whole(weights, gradients)
    assert torch.equal(found, expected) and torch.equal(momentum, expected_momentum)
    assert torch.isnan(padding).all(), "padding was written"


SHAPES = {"qkv": (3 * 24, 24), "in": (96, 24), "out": (24, 96)}


def test_update_equals_its_equations():
    """Three steps on whole matrices equal float64 on singular values.

    An update has elements of about 0.2 and an error of less than 1e-5 of its norm (test_muon.py): three of them differ
    by 3 * lr * 0.2 * 1e-5 in the root mean square, and the rounding of the weights by 2^-24 of them.
    """
    weights, *gradients = draw(SHAPES, 0)
    expected = torch.cat([w.view(-1) for w in reference(weights, gradients).values()])
    difference = trained_whole(weights, gradients)[0].double() - expected
    assert difference.square().mean().sqrt() < 3 * 0.02 * 0.2 * 1e-5 + 3 * 2**-24


def test_a_stack_is_not_one_matrix():
    """A stacked weight that is orthogonalised as one matrix exceeds the tolerance above."""
    weights, *gradients = draw(SHAPES, 0)
    fused, apart = (reference(weights, gradients, stacks)["qkv"] for stacks in (lambda name: 1, stacks_of))
    assert (fused - apart).square().mean().sqrt() > 1e-3


@pytest.mark.parametrize("size", [2, 5])
def test_replicated_matrices_are_divided_over_the_ranks(size, monkeypatch):
    """Each replicated matrix is orthogonalised by one rank, and all ranks end with the weights of one process."""
    weights, *gradients = draw(SHAPES, 3)
    expected, _ = trained_whole(weights, gradients)
    world, computed = SimulatedRanks(size), []
    original = muon.update
    monkeypatch.setattr(muon, "update", lambda matrix: (computed.append(1), original(matrix))[1])

    def run(rank):
        named = {name: nn.Parameter(w.clone()) for name, w in weights.items()}
        optimizer = ShardedOptimizer([{"params": list(named.values())}], CONFIG)
        shards = whole_tensors(((name, p, True) for name, p in named.items()), set(named))
        optimizer.bind(shards, lambda sums: sums, stacks_of, world.ranks(rank))
        for grads in gradients:
            for name, parameter in named.items():
                parameter.grad = grads[name].clone()
            optimizer.step()
        return torch.cat([p.detach().view(-1) for p in named.values()])

    assert all(torch.equal(found, expected) for found in world.run(run))
    assert len(computed) == 5 * len(gradients)
    assert set(world.calls) == {len(gradients)}
    elements = sum(weight.numel() for weight in weights.values())
    assert sum(world.sent) == 4 * len(gradients) * (size - 1) * elements


def test_a_step_moves_eight_bytes_per_element_that_the_owner_lacks():
    """Under ZeRO-3 on N ranks, each of which holds 1 / N of each matrix, 8 (N - 1) / N bytes per element are sent in
    all.
    """
    size, shapes = 4, {"in": (96, 24), "out": (24, 96)}
    (weights, gradient), chunk, world = draw(shapes, 0, steps=1), 96 * 24 // 4, SimulatedRanks(4)

    def run(rank):
        fragments = [Fragment(n, n * chunk, (n + 1) * chunk, rank * chunk) for n in range(2)]
        parts = [[tensor.view(-1).chunk(size)[rank] for tensor in tensors.values()] for tensors in (weights, gradient)]
        parameter = nn.Parameter(torch.cat(parts[0]))
        parameter.grad = torch.cat(parts[1])
        optimizer = ShardedOptimizer([{"params": [parameter]}], CONFIG)
        shard = Shard(tuple(shapes), tuple(shapes.values()), parameter, fragments, True, muon=True)
        optimizer.bind([shard], lambda sums: sums, stacks_of, world.ranks(rank))
        optimizer.step()
        return parameter.detach().split(chunk)

    parts = world.run(run)
    assert sum(world.sent) == 8 * 3 / 4 * 2 * 96 * 24 and set(world.calls) == {2}
    found = torch.cat([part[n] for n in range(2) for part in parts])
    assert torch.equal(found, trained_whole(weights, [gradient])[0])


def test_only_matrices_are_orthogonalised():
    """A family that declares a bias to be a matrix is an error."""
    shard = Shard(("bias",), ((4,),), torch.zeros(4), fragments_of_partition([4], [0], 0, 4), True, muon=True)
    with pytest.raises(ValueError, match=r"^bias has shape \(4,\): Muon updates matrices only"):
        matrix_sets([shard], stacks_of, SimulatedRanks(1).ranks(0))
