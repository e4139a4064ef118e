"""Sharded LAMB equals unsharded LAMB bit for bit, given equal gradients."""

from contextlib import suppress

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.optim.lamb import OptimizerConfig
from pipeline.optim.shards import (
    Fragment,
    Lamb,
    Shard,
    cut_at_parts,
    fragments_of_partition,
    sums_of_squares,
    whole_tensors,
)


def optimizer_over(flat, shards, decayed=True):
    parameter = torch.nn.Parameter(flat)
    lamb = Lamb([{"params": [parameter], "decayed": decayed}], OptimizerConfig(lr=0.02))
    return parameter, lamb, {id(parameter): shards}


def step_sharded(sizes, world_size, weights, grads):
    """Cut the concatenated tensors into `world_size` equal partitions and step each, sharing sums through a list."""
    total = sum(sizes)
    chunk = -(-total // world_size)
    buffer = torch.zeros(chunk * world_size)
    buffer[:total] = torch.cat(weights)
    grad_buffer = torch.zeros_like(buffer)
    grad_buffer[:total] = torch.cat(grads)
    if chunk * world_size > total:  # padding must never be read: poison it
        buffer[total:] = torch.nan
    offsets = torch.tensor([0, *sizes]).cumsum(0)[:-1].tolist()
    names = tuple(f"t{i}" for i in range(len(sizes)))
    shapes = tuple((size,) for size in sizes)

    ranks = []
    for rank in range(world_size):
        flat = buffer[rank * chunk : (rank + 1) * chunk].clone()
        fragments = fragments_of_partition(sizes, offsets, rank * chunk, chunk)
        parameter, lamb, _ = optimizer_over(flat, [])
        shard = Shard(names, shapes, parameter.detach().view(-1), fragments)
        parameter.grad = grad_buffer[rank * chunk : (rank + 1) * chunk].clone()
        ranks.append((parameter, lamb, shard))

    contributions: list[torch.Tensor] = []

    def collect(sums):
        contributions.append(sums.clone())

    class StopError(Exception):
        pass

    def first_pass(sums):
        collect(sums)
        raise StopError

    # The first pass collects what each rank would reduce, on copies of its state; the second hands out the total.
    for parameter, lamb, shard in ranks:
        saved = parameter.detach().clone()
        lamb.bind({id(parameter): [shard]}, first_pass)
        with suppress(StopError):
            lamb.step()
        parameter.data.copy_(saved)
        shard.state.clear()
    total_sums = torch.stack(contributions).sum(0)
    for parameter, lamb, shard in ranks:
        lamb.bind({id(parameter): [shard]}, lambda sums: sums.copy_(total_sums))
        lamb.step()
    return torch.cat([parameter.detach() for parameter, _, _ in ranks])[:total]


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 97), min_size=1, max_size=9),
    world_size=st.integers(1, 64),
    seed=st.integers(0, 2**16),
)
def test_any_partition_equals_whole_tensors_bit_for_bit(sizes, world_size, seed):
    """Odd sizes, tensors over several ranks, ranks with only (poisoned) padding: the same weights to the last bit."""
    generator = torch.Generator().manual_seed(seed)
    weights = [torch.randn(size, generator=generator) for size in sizes]
    grads = [torch.randn(size, generator=generator) for size in sizes]
    parameters = [torch.nn.Parameter(w.clone()) for w in weights]
    whole = Lamb([{"params": parameters, "decayed": True}], OptimizerConfig(lr=0.02))
    whole.bind(whole_tensors([(f"t{i}", p) for i, p in enumerate(parameters)]), lambda sums: sums)
    for parameter, grad in zip(parameters, grads, strict=True):
        parameter.grad = grad.clone()
    whole.step()
    expected = torch.cat([p.detach() for p in parameters])
    assert torch.equal(step_sharded(sizes, world_size, weights, grads), expected)


def test_fragments_cover_each_element_once():
    """The fragments of all partitions of a buffer with gaps are the tensors, once."""
    sizes, offsets = [5, 3, 11], [0, 8, 12]
    seen = torch.zeros(3, 11)
    for rank in range(4):
        for tensor, start, stop, offset in fragments_of_partition(sizes, offsets, rank * 6, 6):
            assert 0 <= start < stop <= 6
            seen[tensor, offset : offset + stop - start] += 1
    assert [seen[i, :size].tolist() for i, size in enumerate(sizes)] == [[1.0] * size for size in sizes]
    assert seen.sum() == sum(sizes)


def test_two_fragments_of_one_tensor_add_up():
    """A tensor that comes in two pieces on one rank counts both."""
    flat = torch.tensor([3.0, torch.nan, 4.0])
    fragments = [Fragment(0, 0, 1, 0), Fragment(0, 2, 3, 1)]
    assert sums_of_squares(flat, fragments, 1).tolist() == [25.0]


def test_unbound_optimizer_does_not_step():
    """DeepSpeed's step with zero gradients at construction must leave the weights alone."""
    parameter, lamb, _ = optimizer_over(torch.ones(4), [])
    parameter.grad = torch.zeros(4)
    lamb.step()
    assert torch.equal(parameter.detach(), torch.ones(4))


def test_stacked_parameter_is_several_tensors():
    """Three tensors in one parameter, cut anywhere, step as three parameters do."""
    generator = torch.Generator().manual_seed(1)
    weight, grad = torch.randn(6, 5, generator=generator), torch.randn(6, 5, generator=generator)
    weight[:2] *= 50  # one part's ratio differs from the others'

    def stepped(tensors, grads, parts):
        parameters = [torch.nn.Parameter(t.clone()) for t in tensors]
        lamb = Lamb([{"params": parameters, "decayed": True}], OptimizerConfig(lr=0.1))
        lamb.bind(whole_tensors([(f"t{i}", p) for i, p in enumerate(parameters)]), lambda sums: sums, parts)
        for parameter, g in zip(parameters, grads, strict=True):
            parameter.grad = g.clone()
        lamb.step()
        return torch.cat([p.detach() for p in parameters]), lamb.last_ratios

    fused, ratios = stepped([weight], [grad], lambda name: 3)
    apart, _ = stepped(weight.chunk(3), grad.chunk(3), lambda name: 1)
    whole, _ = stepped([weight], [grad], lambda name: 1)
    assert torch.equal(fused, apart) and not torch.allclose(fused, whole)
    assert list(ratios) == ["t0.0", "t0.1", "t0.2"]


@settings(max_examples=50, deadline=None)
@given(start=st.integers(0, 11), length=st.integers(1, 12), parts=st.sampled_from([1, 2, 3, 4, 6, 12]))
def test_parts_partition_a_fragment(start, length, parts):
    """Cutting keeps every element, in order, and no piece crosses a part's end."""
    length = min(length, 12 - start)
    shard = Shard(("w",), ((12,),), torch.zeros(length), [Fragment(0, 0, length, start)])
    names, pieces = cut_at_parts(shard, lambda name: parts)
    assert len(names) == parts
    size = 12 // parts
    covered = [piece.tensor * size + piece.offset + i for piece in pieces for i in range(piece.stop - piece.start)]
    assert covered == list(range(start, start + length))
    assert all(piece.offset + piece.stop - piece.start <= size for piece in pieces)
