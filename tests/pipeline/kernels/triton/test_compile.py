"""The kernels compile for A100, H100 and B200, without a GPU, touch memory in 16-byte vectors and fit into it."""

import json
import os
import subprocess
import sys

import pytest
from ranks import ROOT

MAKE = """
import sys

from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile

def make(kernel, types, constants, multiples, **options):
    names = kernel.arg_names
    signature = {name: "constexpr" if name in constants else types.get(name, "*bf16") for name in names}
    aligned = [name for name in names if signature[name].startswith("*") or name in multiples]
    source = ASTSource(
        kernel,
        signature,
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs={(names.index(name),): [["tt.divisibility", 16]] for name in aligned},
    )
    return compile(source, target=GPUTarget("cuda", int(sys.argv[1]), 32), options=options)
"""
COMPILE = (
    MAKE
    + """
from pipeline.kernels.triton import cross_entropy, fp8, gelu, residual_norm

TYPES = dict(seed="*i64", labels="*i64", predictions="*i64", eps="fp32", scale="fp32")
TYPES |= dict(values="*fp8e4nv", scales="*fp32")
TYPES |= dict.fromkeys(["statistics", "partials", "losses", "log_normalisers", "loss_gradient"], "*fp32")
TYPES |= dict.fromkeys(["num_rows", "width", "threshold", "stride", "out_stride", "ignored"], "i32")
layer = dict(ROWS=residual_norm.TILE // 1024, BLOCK=1024)
jobs = [
    (residual_norm, way, layer | dict(DROP=drop), ["width"])
    for way in ("forward_kernel", "backward_kernel") for drop in (False, True)
]
layer = dict(ROWS=gelu.TILE // gelu.COLUMNS, BLOCK=gelu.COLUMNS)
jobs += [(gelu, "backward_kernel", layer | dict(TANH=tanh, RECOMPUTE=tanh), ["width"]) for tanh in (False, True)]
layer = dict(BLOCK=cross_entropy.BLOCK)
jobs += [
    (cross_entropy, way, layer | constants, ["stride", "out_stride"])
    for way, constants in (
        ("forward_kernel", {}), ("backward_kernel", dict(Z_WEIGHT=0.0)), ("backward_kernel", dict(Z_WEIGHT=1e-4))
    )
]
if int(sys.argv[1]) >= 89:  # others have no conversion to e4m3
    jobs += [(fp8, "quantise_kernel", dict(RECIPROCAL=1 / 448, BLOCK=1024), ["width"])]
for module, name, constants, multiples in jobs:
    made = make(getattr(module, name), TYPES, constants, multiples, num_warps=module.WARPS)
    print(made.asm["ptx"].count("ld.global.v4"), made.asm["ptx"].count("st.global.v4"))
"""
)


def compiled(program, *arguments):
    """The lines that a program prints where Triton does not interpret."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


# Loads and stores in vectors that each kernel needs at least: streams of bf16, times vectors per thread and stream.
NORM, GELU, ENTROPY = [(4, 2), (4, 2), (6, 2), (6, 4)], [(4, 2), (4, 4)], [(2, 0), (2, 2), (2, 2)]
FP8 = [(1, 0)]  # a thread stores 8 bytes of FP8


@pytest.mark.parametrize("capability", [90, pytest.param(80, marks=pytest.mark.slow)])
def test_compiles_for_gpus_with_16_byte_accesses(capability):
    """Every variant of the kernels compiles with rows of BERT-large's width and logits as `projection`
    lays them out.
    """
    found = [tuple(map(int, line.split())) for line in compiled(COMPILE, capability)]
    wanted = NORM + GELU + ENTROPY + (FP8 if capability >= 89 else [])
    assert len(found) == len(wanted)
    for (loads, stores), (fewest_loads, fewest_stores) in zip(found, wanted, strict=True):
        assert loads >= fewest_loads and stores >= fewest_stores, found


ATTENTION = (
    MAKE
    + """
import json
import os
import re
import subprocess
import tempfile

import torch
import triton

from pipeline.kernels.triton import attention, attention_kernels

head_dim, drop, names = int(sys.argv[2]), sys.argv[3] == "drop", sys.argv[4].split()
kind, dtype = dict(bf16=("*bf16", torch.bfloat16), fp32=("*fp32", torch.float32))[sys.argv[5]]
TYPES = dict(cu_seqlens="*i32", seed="*i64", cu_pairs="*i64", log_sums="*fp32", deltas="*fp32", scale="fp32")
TYPES |= dict.fromkeys(["heads", "num_tokens", "num_pairs", "blocks", "threshold"], "i32") | dict(kept_scale="fp32")
TYPES |= dict.fromkeys(["qkv", "out", "grad", "qkv_grad", "term", "term_grad"], kind)
tools = os.path.join(os.path.dirname(triton.__file__), "backends", "nvidia", "bin")
for name in names:
    name, _, way = name.partition(":")
    kernel, tiling = getattr(attention_kernels, name + "_kernel"), getattr(attention.tilings(head_dim, dtype), name)
    constants = dict(DROP=drop, TERM="term" in way, D=head_dim, WIDTH=head_dim, PRECISION="ieee")
    constants |= dict(WINDOW=64 if "near" in way else -1)
    constants |= dict(QUERIES=tiling.queries, KEYS=tiling.keys)
    constants |= dict(WHOLE="whole" in way) if "WHOLE" in kernel.arg_names else dict()
    made = make(kernel, TYPES, constants, ["threshold"], num_warps=tiling.warps, num_stages=tiling.stages)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(made.asm["cubin"])
        file.flush()
        command = [os.path.join(tools, "cuobjdump"), "-res-usage", file.name]
        usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    moved = re.findall(r"convert_layout.*tensor<[0-9]+x[0-9]+x(?:i1|i32),", made.asm["ttgir"])
    stack = [int(size) for size in re.findall(r"STACK:([0-9]+)", usage)]
    ptx = made.asm["ptx"]
    wide = [len(re.findall("ld.global.v4|cp.async.cg|cp.async.bulk", ptx)), ptx.count("st.global.v4")]
    print(json.dumps(dict(shared=made.metadata.shared, stack=stack, moved=len(moved), wide=wide)))
"""
)
PASSES = "forward query_gradient key_value_gradient key_value_gradient:whole"
TERM = "forward:term query_gradient:term key_value_gradient:term key_value_gradient:whole+term"
NEAR = "forward:near query_gradient:near key_value_gradient:near key_value_gradient:whole+near"
SHARED_KIB = {80: 99, 90: 227, 100: 227}
"""Shared memory of a program. 99 KiB is that of the GPUs of workstations, for which Triton makes the code of sm_80."""


@pytest.mark.parametrize(
    ("capability", "head_dim", "drop", "kernels", "dtype"),
    [
        (90, 64, "drop", "forward query_gradient key_value_gradient:whole", "bf16"),
        pytest.param(80, 64, "drop", PASSES, "bf16", marks=pytest.mark.slow),
        pytest.param(80, 64, "keep", PASSES, "bf16", marks=pytest.mark.slow),
        pytest.param(80, 128, "drop", PASSES, "bf16", marks=pytest.mark.slow),
        pytest.param(90, 128, "drop", PASSES, "bf16", marks=pytest.mark.slow),
        pytest.param(90, 64, "drop", TERM, "bf16", marks=pytest.mark.slow),
        pytest.param(80, 64, "drop", PASSES, "fp32", marks=pytest.mark.slow),
        pytest.param(80, 64, "keep", NEAR, "bf16", marks=pytest.mark.slow),
        pytest.param(90, 64, "keep", NEAR, "bf16", marks=pytest.mark.slow),
        pytest.param(90, 64, "drop", NEAR, "bf16", marks=pytest.mark.slow),
        pytest.param(100, 64, "drop", PASSES, "bf16", marks=pytest.mark.slow),
    ],
)
def test_attention_fits_into_registers_and_shared_memory(capability, head_dim, drop, kernels, dtype):
    """In 16-bit types no kernel spills more than 16 registers of a thread, or moves a mask between threads.

    sm_100 has another layout of sums, in which a mask moves, and exact products of fp32 spill; both only take time.
    """
    for line in compiled(ATTENTION, capability, head_dim, drop, kernels, dtype):
        found = json.loads(line)
        assert found["shared"] <= SHARED_KIB[capability] * 1024 and min(found["wide"]) > 0, found
        assert max(found["stack"]) <= 64 or dtype == "fp32", found
        assert found["moved"] == 0 or dtype == "fp32" or capability == 100, found
