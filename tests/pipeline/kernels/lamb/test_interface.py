"""Chunks cover each piece once, in order, and only aligned ones have the full size."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kernels.lamb.interface import Coefficients, Partition, Piece, cut

CPU = torch.device("cpu")


@st.composite
def layouts(draw):
    """Draw pieces in the order of their tensors, some tensors without any, with gaps between them."""
    pieces, position, tensor = [], 0, 0
    for _ in range(draw(st.integers(0, 6))):
        tensor += draw(st.integers(0, 2))
        start = position + draw(st.integers(0, 5))
        position = start + draw(st.integers(1, 90))
        pieces.append(Piece(tensor, start, position))
    return pieces, tensor + 1 + draw(st.integers(0, 2))


@given(layouts(), st.sampled_from([(8, 4), (16, 4), (32, 1)]))
def test_chunks_cover_each_piece_once(layout, size_align):
    """The chunks of tensor i are bounds[i]:bounds[i + 1] and cover its pieces, and a full chunk starts aligned."""
    pieces, num_tensors = layout
    size, align = size_align
    table, bounds = cut(pieces, num_tensors, size, align, CPU)
    for tensor in range(num_tensors):
        mine = table[bounds[tensor] : bounds[tensor + 1]].tolist()
        assert all(owner == tensor for _, _, owner in mine)
        covered = [i for start, stop, _ in mine for i in range(start, stop)]
        assert covered == [i for piece in pieces if piece.tensor == tensor for i in range(piece.start, piece.stop)]
    for start, stop, _ in table.tolist():
        assert 0 < stop - start <= size
        assert stop - start < size or start % align == 0
    assert bounds[-1] == len(table)


def test_table_is_made_once():
    """The table is computed once, since the kernels use it at every step."""
    partition = Partition([Piece(0, 0, 100)], 1)
    assert partition.chunks(8, 4, CPU) is partition.chunks(8, 4, CPU)


def test_differences_are_formed_in_float64():
    """1 - 0.999 is formed in float64, in which it is 0.001, and not in float32, in which it is 0.00100004."""
    numbers = Coefficients(0.1, 0.9, 0.999, 1e-6, 0.01, step=2)
    assert numbers.floats()[4] == 1 - 0.999
    assert numbers.scale1 == 1 / (1 - 0.9**2) and numbers.scale2 == (1 - 0.999**2) ** -0.5
    uncorrected = numbers._replace(bias_correction=False)
    assert (uncorrected.scale1, uncorrected.scale2) == (1.0, 1.0)
