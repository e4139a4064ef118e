"""Laws of pipeline/optim/optimizer.py under partitions: LAMB has the same bits on any number of ranks (law 4)."""

from contextlib import suppress

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pipeline.optim.lamb import OptimizerConfig
from pipeline.optim.optimizer import ShardedOptimizer
from pipeline.optim.shards import Shard, fragments_of_partition, whole_tensors


class StopAtReduction(Exception):  # noqa: N818 - not an error
    pass


def step_sharded(sizes, world_size, weights, grads, config, gaps=0):
    """Take two steps over equal partitions of the concatenated tensors, rank after rank, with sums added in one
    process.

    `gaps` elements of NaN lie behind each tensor, as alignment padding does.
    """
    offsets = torch.tensor([0, *(size + gaps for size in sizes)]).cumsum(0).tolist()
    total = offsets.pop()
    chunk = -(-total // world_size)
    buffer = torch.full((chunk * world_size,), torch.nan)
    for offset, weight in zip(offsets, weights, strict=True):
        buffer[offset : offset + len(weight)] = weight
    names, shapes = tuple(f"t{i}" for i in range(len(sizes))), tuple((size,) for size in sizes)
    ranks = []
    for rank in range(world_size):
        here = slice(rank * chunk, (rank + 1) * chunk)
        parameter = nn.Parameter(buffer[here].clone())
        shard = Shard(names, shapes, parameter, fragments_of_partition(sizes, offsets, here.start, chunk), True)
        ranks.append((parameter, ShardedOptimizer([{"params": [parameter], "decayed": True}], config), shard, here))
    for step_grads in grads:
        grad_buffer = torch.full_like(buffer, torch.nan)
        for offset, grad in zip(offsets, step_grads, strict=True):
            grad_buffer[offset : offset + len(grad)] = grad
        step_together(ranks, grad_buffer)
    flat = torch.cat([parameter.detach() for parameter, *_ in ranks])
    padding = torch.ones(len(flat), dtype=torch.bool)
    for offset, size in zip(offsets, sizes, strict=True):
        padding[offset : offset + size] = False
    assert torch.isnan(flat[padding]).all(), "padding was written"
    return torch.cat([flat[offset : offset + size] for offset, size in zip(offsets, sizes, strict=True)])


def step_together(ranks, grad_buffer):
    """Take one step of all ranks in one process: run up to the all-reduce, undo, and run again with the total."""
    contributions = []

    def collect(sums):
        contributions.append(sums.clone())
        raise StopAtReduction

    for parameter, optimizer, shard, here in ranks:
        parameter.grad = grad_buffer[here].clone()
        optimizer.bind([shard], collect)
        saved = {key: value.clone() if torch.is_tensor(value) else value for key, value in shard.state.items()}
        with suppress(StopAtReduction):
            optimizer.step()
        shard.state.update(saved)
    total = torch.stack(contributions).sum(0)
    for parameter, optimizer, shard, here in ranks:
        parameter.grad = grad_buffer[here].clone()  # the first run spent it
        optimizer.bind([shard], lambda sums: sums.copy_(total))
        optimizer.step()


@settings(max_examples=30)
@given(
    sizes=st.lists(st.integers(1, 97), min_size=1, max_size=9),
    world_size=st.integers(1, 64),
    gaps=st.integers(0, 5),
    seed=st.integers(0, 2**16),
)
@pytest.mark.parametrize("backend", ["plain", "cpu"])
def test_any_partition_equals_whole_tensors_bit_for_bit(backend, sizes, world_size, gaps, seed):
    """Odd sizes, tensors over several ranks, and ranks with NaN padding only give the same bits as whole tensors."""
    generator = torch.Generator().manual_seed(seed)
    draw = [[torch.randn(size, generator=generator) for size in sizes] for _ in range(3)]
    config = OptimizerConfig(lr=0.02, backend=backend)
    parameters = [nn.Parameter(w.clone()) for w in draw[0]]
    whole = ShardedOptimizer([{"params": parameters, "decayed": True}], config)
    whole.bind(whole_tensors((f"t{i}", p, True) for i, p in enumerate(parameters)), lambda sums: sums)
    for grads in draw[1:]:
        for parameter, grad in zip(parameters, grads, strict=True):
            parameter.grad = grad.clone()
        whole.step()
    expected = torch.cat([p.detach() for p in parameters])
    assert torch.equal(step_sharded(sizes, world_size, draw[0], draw[1:], config, gaps), expected)


@pytest.mark.parametrize("backend", ["plain", "cpu"])
def test_large_tensor_over_three_ranks(backend):
    """Large tensors in several chunks per rank, divided at odd places, give the same bits on three ranks as on one."""
    sizes = [100_003, 5, 70_001]
    generator = torch.Generator().manual_seed(1)
    draw = [[torch.randn(size, generator=generator) for size in sizes] for _ in range(2)]
    config = OptimizerConfig(lr=0.02, backend=backend)
    one = step_sharded(sizes, 1, draw[0], draw[1:], config)
    assert torch.equal(step_sharded(sizes, 3, draw[0], draw[1:], config, gaps=7), one)


def test_norm_of_partitions():
    """Fragments count, padding with NaN does not, and the squares of other ranks are added in float64."""
    sums = []

    def all_reduce(squares):
        sums.append(squares.dtype)
        squares += 7.0 if squares.dim() == 0 else 0.0

    parameter = nn.Parameter(torch.ones(20))
    shard = Shard(("a", "b"), ((6,), (9,)), parameter, fragments_of_partition([6, 9], [0, 8], 2, 20), True)
    assert shard.runs == [slice(0, 4), slice(6, 15)]
    optimizer = ShardedOptimizer([{"params": [parameter], "decayed": True}], OptimizerConfig(), clips=True)
    optimizer.bind([shard], all_reduce)
    parameter.grad = torch.full((20,), torch.nan)
    for run in shard.runs:
        parameter.grad[run] = 3.0
    optimizer.step()
    assert optimizer.grad_norm == pytest.approx((13 * 9 + 7) ** 0.5)
    assert sums == [torch.float64, torch.float64]
