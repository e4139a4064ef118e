"""The GPU kernels add up all chunks and move the bytes that interface.py states."""

from itertools import pairwise

import pytest
import torch
from lamb_kernels import DEVICES, NUMBERS, PARTITION, make, state
from triton.runtime.interpreter import InterpreterBuilder

from pipeline.kernels.lamb.cuda import REDUCE_BLOCK, sum_kernel


@pytest.fixture
def moved(monkeypatch):
    """Bytes read and written in blocks, counted where Triton's interpreter touches memory; single values aside."""
    if torch.cuda.is_available():
        pytest.skip("counts in the interpreter")
    counts = {"read": 0, "written": 0}
    load, store = InterpreterBuilder.create_masked_load, InterpreterBuilder.create_masked_store

    def counting_load(self, ptrs, mask, *arguments):
        loaded = load(self, ptrs, mask, *arguments)
        if mask.data.size > 1:
            counts["read"] += int(mask.data.sum()) * loaded.data.itemsize
        return loaded

    def counting_store(self, ptrs, value, mask, *arguments):
        if mask.data.size > 1:
            counts["written"] += int(mask.data.sum()) * value.data.itemsize
        return store(self, ptrs, value, mask, *arguments)

    monkeypatch.setattr(InterpreterBuilder, "create_masked_load", counting_load)
    monkeypatch.setattr(InterpreterBuilder, "create_masked_store", counting_store)
    return counts


def test_chunks_of_a_tensor_are_added_up():
    """Also more of them than a program holds at once, none, and one."""
    partials = torch.rand(3000, 2, dtype=torch.float64).to(DEVICES["cuda"])
    bounds = torch.tensor([0, 10, 10, 2900, 2901, 3000], device=partials.device)
    sums = torch.full((5, 2), torch.nan, dtype=torch.float64, device=partials.device)
    sum_kernel[(5,)](partials, bounds, sums, BLOCK=REDUCE_BLOCK)
    expected = [partials[a:b].sum(0) for a, b in pairwise(bounds.tolist())]
    torch.testing.assert_close(sums, torch.stack(expected), rtol=1e-13, atol=0)


ELEMENTS = sum(stop - start for _, start, stop in PARTITION.pieces)


@pytest.mark.parametrize("model", [None, torch.bfloat16])
def test_lamb_reads_28_and_writes_12_bytes_per_element(moved, model):
    """Both passes; 2 more where the model's 16-bit weight is written. The chunks' sums are 16 bytes per 4096."""
    kernel, tensors = make("cuda"), state("cuda", model=model)
    sums = kernel.moments(tensors, PARTITION, NUMBERS)
    partials = 16 * len(PARTITION.chunks(4096, 4, torch.device("cpu")).table)
    assert moved == {"read": 16 * ELEMENTS + partials, "written": 8 * ELEMENTS}
    moved.update(read=0, written=0)
    kernel.apply(tensors, PARTITION, NUMBERS, torch.ones(len(sums)))
    assert moved == {"read": 12 * ELEMENTS, "written": (4 if model is None else 6) * ELEMENTS}


def test_adam_reads_16_and_writes_12_bytes_per_element(moved):
    """One pass."""
    make("cuda").adam(state("cuda"), PARTITION, NUMBERS)
    assert moved == {"read": 16 * ELEMENTS, "written": 12 * ELEMENTS}
