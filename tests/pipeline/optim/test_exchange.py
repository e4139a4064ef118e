"""Fragments are collected as whole matrices by their owners and returned to the ranks that hold them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import SimulatedRanks

from pipeline.optim.exchange import ALONE, Exchange, Held, choose_owners
from pipeline.optim.shards import fragments_of_partition

CPU = torch.device("cpu")


def tables_of(shapes, size):
    """Return the fragments of equal partitions of the concatenated matrices, by rank."""
    sizes = [torch.Size(shape).numel() for shape in shapes]
    offsets = [sum(sizes[:number]) for number in range(len(sizes))]
    chunk = -(-sum(sizes) // size)
    partitions = [fragments_of_partition(sizes, offsets, rank * chunk, chunk) for rank in range(size)]
    return [[Held(f.tensor, f.offset, f.stop - f.start) for f in partition] for partition in partitions]


SHAPES = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=9)


@settings(max_examples=20, deadline=None)
@given(shapes=SHAPES, size=st.sampled_from([1, 2, 3, 7, 16, 64]), replicated=st.booleans())
def test_matrices_arrive_whole_and_return_to_their_holders(shapes, size, replicated):
    """Under any partition, an owner gets its matrices whole, and each rank gets back the elements that it holds."""
    whole = [torch.randn(shape) for shape in shapes]
    tables = tables_of(shapes, 1) * size if replicated else tables_of(shapes, size)
    world, work = SimulatedRanks(size), [len(matrix) for matrix in whole]

    def run(rank):
        exchange = Exchange(shapes, work, tables, world.ranks(rank), device=CPU, replicated=replicated)
        parts = [whole[held.matrix].view(-1)[held.offset : held.offset + held.length] for held in tables[rank]]
        found = exchange.collect(parts)
        assert all(torch.equal(matrix, whole[number]) for number, matrix in found.items())
        returned = exchange.give_back({number: matrix + 1 for number, matrix in found.items()})
        assert all(torch.equal(a, b + 1) for a, b in zip(returned, parts, strict=True))
        return set(found), exchange.owners

    results = world.run(run)
    assert [owners for _, owners in results] == [results[0][1]] * size
    assert sorted(number for found, _ in results for number in found) == list(range(len(shapes)))


@pytest.mark.parametrize("size", [1, 2, 5, 64])
def test_no_byte_is_sent_twice(size):
    """A collection sends each element that its owner lacks once, and a return sends it back, in two all-to-alls."""
    shapes = [(8, 6), (6, 8), (7, 7), (30, 2)]
    tables, world = tables_of(shapes, size), SimulatedRanks(size)

    def run(rank):
        exchange = Exchange(shapes, [1, 1, 1, 1], tables, world.ranks(rank), device=CPU)
        exchange.give_back(exchange.collect([torch.zeros(held.length) for held in tables[rank]]))
        return exchange.owners

    owners = world.run(run)[0]
    lacked = sum(held.length for rank, table in enumerate(tables) for held in table if owners[held.matrix] != rank)
    assert sum(world.sent) == 2 * 4 * lacked
    assert set(world.calls) == {0 if size == 1 else 2}


def test_replicated_matrices_are_only_sent_by_their_owners():
    """If every rank holds all matrices, nothing is collected, and an owner sends its share to all others."""
    shapes = [(4, 4)] * 4
    tables, world = tables_of(shapes, 1) * 4, SimulatedRanks(4)

    def run(rank):
        exchange = Exchange(shapes, [1] * 4, tables, world.ranks(rank), device=CPU, replicated=True)
        exchange.give_back(exchange.collect([torch.zeros(held.length) for held in tables[rank]]))

    world.run(run)
    assert world.sent == [3 * 4 * 16] * 4 and set(world.calls) == {1}


@settings(max_examples=60)
@given(work=st.lists(st.integers(1, 50), min_size=1, max_size=40), size=st.integers(1, 16))
def test_work_is_balanced(work, size):
    """No rank has more work than any order of dealing ensures: the mean and the largest matrix."""
    tables = [[Held(number, 0, 1) for number in range(len(work))], *[[] for _ in range(size - 1)]]
    owners = choose_owners(work, tables, size)
    loads = [sum(w for w, owner in zip(work, owners, strict=True) if owner == rank) for rank in range(size)]
    assert size * max(loads) <= sum(work) + (size - 1) * max(work)


def test_matrices_stay_where_they_are_held():
    """Of equal matrices in contiguous partitions, only those that a boundary divides are sent."""
    shapes = [(8, 8)] * 12
    assert choose_owners([1] * 12, tables_of(shapes, 4), 4) == [n // 3 for n in range(12)]
    world = SimulatedRanks(4)
    tables = tables_of(shapes, 4)

    def run(rank):
        exchange = Exchange(shapes, [1] * 12, tables, world.ranks(rank), device=CPU)
        exchange.collect([torch.zeros(held.length) for held in tables[rank]])

    world.run(run)
    assert world.calls == [0] * 4


@pytest.mark.parametrize("table", [[], [Held(0, 0, 5)], [Held(0, 1, 5)], [Held(0, 0, 6), Held(0, 3, 3)]])
def test_fragments_that_are_no_matrices_are_refused(table):
    """Fragments that are not whole matrices together are an error."""
    with pytest.raises(ValueError, match=r"^the fragments of all ranks are not whole matrices; bind"):
        Exchange([(2, 3)], [1], [table], ALONE, device=CPU)
