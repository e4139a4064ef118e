"""The kernels compile for A100 and H100, without a GPU, and touch memory in 16-byte vectors."""

import os
import subprocess
import sys

import pytest
from ranks import ROOT

COMPILE = """
import sys

from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile

from pipeline.kernels.triton import cross_entropy, gelu, residual_norm

TYPES = dict(seed="*i64", labels="*i64", predictions="*i64", eps="fp32", scale="fp32")
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
capability = int(sys.argv[1])
for module, name, constants, multiples in jobs:
    kernel = getattr(module, name)
    names = kernel.arg_names
    signature = {name: "constexpr" if name in constants else TYPES.get(name, "*bf16") for name in names}
    aligned = [name for name in names if signature[name].startswith("*") or name in multiples]
    source = ASTSource(
        kernel,
        signature,
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs={(names.index(name),): [["tt.divisibility", 16]] for name in aligned},
    )
    made = compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": module.WARPS})
    print(made.asm["ptx"].count("ld.global.v4"), made.asm["ptx"].count("st.global.v4"))
"""
# Loads and stores in vectors that each kernel needs at least: streams of bf16, times vectors per thread and stream.
NORM, GELU, ENTROPY = [(4, 2), (4, 2), (6, 2), (6, 4)], [(4, 2), (4, 4)], [(2, 0), (2, 2), (2, 2)]


@pytest.mark.parametrize("capability", [90, pytest.param(80, marks=pytest.mark.slow)])
def test_compiles_for_gpus_with_16_byte_accesses(capability):
    """Every variant of the kernels compiles with rows of BERT-large's width and logits as `projection`
    lays them out.
    """
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    program = [sys.executable, "-c", COMPILE, str(capability)]
    done = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    wanted = NORM + GELU + ENTROPY
    assert len(found) == len(wanted)
    for (loads, stores), (fewest_loads, fewest_stores) in zip(found, wanted, strict=True):
        assert loads >= fewest_loads and stores >= fewest_stores, found
