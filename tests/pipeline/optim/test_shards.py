"""The fragments of a buffer are the tensors, each element once, however it is divided."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kernels.lamb.interface import Piece
from pipeline.optim.shards import Fragment, Shard, cut_at_stacks, fragments_of_partition


def test_fragments_cover_each_element_once():
    """The fragments of all partitions of a buffer with gaps cover each element of the tensors once."""
    sizes, offsets = [5, 3, 11], [0, 8, 12]
    seen = torch.zeros(3, 11)
    for rank in range(4):
        for tensor, start, stop, offset in fragments_of_partition(sizes, offsets, rank * 6, 6):
            assert 0 <= start < stop <= 6
            seen[tensor, offset : offset + stop - start] += 1
    assert [seen[i, :size].tolist() for i, size in enumerate(sizes)] == [[1.0] * size for size in sizes]
    assert seen.sum() == sum(sizes)


@settings(max_examples=50)
@given(start=st.integers(0, 11), length=st.integers(1, 12), stacks=st.sampled_from([1, 2, 3, 4, 6, 12]))
def test_parts_partition_a_fragment(start, length, stacks):
    """Dividing a fragment keeps every element in order, and no piece extends over the end of a part."""
    length = min(length, 12 - start)
    shard = Shard(("w",), ((12,),), torch.zeros(length), [Fragment(0, 0, length, start)], decayed=True)
    names, partition = cut_at_stacks(shard, lambda name: stacks)
    assert len(names) == partition.num_tensors == stacks
    owner = [tensor for tensor, first, stop in partition.pieces for _ in range(first, stop)]
    assert owner == [(start + i) // (12 // stacks) for i in range(length)]
    assert [i for _, first, stop in partition.pieces for i in range(first, stop)] == list(range(length))


def test_parts_shift_the_tensors_behind_them():
    """A parameter of three stacked tensors between two whole ones gives five tensors, numbered in order."""
    shard = Shard(
        ("a", "qkv", "b"),
        ((2,), (6,), (3,)),
        torch.zeros(11),
        [Fragment(0, 0, 2, 0), Fragment(1, 2, 8, 0), Fragment(2, 8, 11, 0)],
        decayed=True,
    )
    names, partition = cut_at_stacks(shard, lambda name: 3 if name == "qkv" else 1)
    assert names == ("a", "qkv.0", "qkv.1", "qkv.2", "b")
    assert partition.pieces == [Piece(0, 0, 2), Piece(1, 2, 4), Piece(2, 4, 6), Piece(3, 6, 8), Piece(4, 8, 11)]
