"""The GPU kernels add up all chunks and move as many bytes as interface.py states."""

import os
import subprocess
import sys
from itertools import pairwise

import pytest
import torch
from lamb_kernels import DEVICES, NUMBERS, PARTITION, make, state
from ranks import ROOT
from triton.runtime.interpreter import InterpreterBuilder

from pipeline.kernels.lamb.cuda import ALIGN, BLOCK, REDUCE_BLOCK, sum_kernel


@pytest.fixture
def moved(monkeypatch):
    """Counts of the bytes that Triton's interpreter reads and writes in blocks, without single values."""
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
    """Chunks are added up for tensors without any, with one, and with more than a program holds at once."""
    partials = torch.rand(3000, 2, dtype=torch.float64).to(DEVICES["cuda"])
    bounds = torch.tensor([0, 10, 10, 2900, 2901, 3000], device=partials.device)
    sums = torch.full((5, 2), torch.nan, dtype=torch.float64, device=partials.device)
    sum_kernel[(5,)](partials, bounds, sums, BLOCK=REDUCE_BLOCK)
    expected = [partials[a:b].sum(0) for a, b in pairwise(bounds.tolist())]
    torch.testing.assert_close(sums, torch.stack(expected), rtol=1e-13, atol=0)


ELEMENTS = sum(stop - start for _, start, stop in PARTITION.pieces)


@pytest.mark.parametrize("model", [None, torch.bfloat16])
def test_lamb_reads_24_and_writes_16_bytes_per_element(moved, model):
    """The two passes read 24 and write 16 bytes per element, 2 more with a 16-bit model, and 16 bytes of sums per
    chunk.
    """
    kernel, tensors = make("cuda"), state("cuda", model=model)
    sums = kernel.moments(tensors, PARTITION, NUMBERS)
    partials = 16 * len(PARTITION.chunks(BLOCK, ALIGN, torch.device("cpu")).table)
    assert moved == {"read": 16 * ELEMENTS + partials, "written": 12 * ELEMENTS}
    moved.update(read=0, written=0)
    kernel.apply(tensors, PARTITION, NUMBERS, torch.ones(len(sums)))
    assert moved == {"read": 8 * ELEMENTS, "written": (4 if model is None else 6) * ELEMENTS}


def test_adam_reads_16_and_writes_12_bytes_per_element(moved):
    """`adam` reads and writes each element once."""
    make("cuda").adam(state("cuda"), PARTITION, NUMBERS)
    assert moved == {"read": 16 * ELEMENTS, "written": 12 * ELEMENTS}


COMPILE = """
import sys

from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile

from pipeline.kernels.lamb import cuda

fp32, flags = "*fp32", {"BLOCK": cuda.BLOCK, "ALIGN": cuda.ALIGN}
flat = dict.fromkeys("wgmv", fp32)
numbers = dict.fromkeys(cuda.moments_kernel.arg_names[4:14], "fp32")
kernels = [(cuda.moments_kernel, flat | numbers | {"chunks": "*i64", "partials": "*fp64"}, flags)]
for adam in (False, True):
    pointers = flat | {"model": "*bf16"} | numbers | {"chunks": "*i64", "ratios": fp32}
    kernels.append((cuda.update_kernel, pointers, {"ADAM": adam, "MODEL": True} | flags))
capability = int(sys.argv[1])
for kernel, pointers, constants in kernels:
    signature = pointers | dict.fromkeys(constants, "constexpr")
    places = {(number,): [["tt.divisibility", 16]] for number, kind in enumerate(pointers.values()) if kind != "fp32"}
    values = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    source = ASTSource(kernel, signature, constexprs=values, attrs=places)
    made = compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": cuda.WARPS})
    print(kernel.__name__, made.asm["ptx"].count("ld.global.v4"), made.asm["ptx"].count("st.global.v4"))
"""


@pytest.mark.parametrize("capability", [90, pytest.param(80, marks=pytest.mark.slow)])
def test_compiles_for_gpus_with_16_byte_accesses(capability):
    """The kernels compile for A100 and H100 without a GPU, and access full chunks in 16-byte vectors, two for each
    stream.
    """
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    program = [sys.executable, "-c", COMPILE, str(capability)]
    done = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [name for name, _, _ in lines] == ["moments_kernel", "update_kernel", "update_kernel"]
    per_stream = BLOCK // 32 // 8 // 4  # lanes of a warp, warps, elements of a vector
    for (_, loads, stores), (read, written) in zip(lines, [(4, 3), (2, 1), (4, 3)], strict=True):
        assert int(loads) >= per_stream * read and int(stores) >= per_stream * written
