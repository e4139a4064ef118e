"""Fused kernels for the LAMB update of a flat partition: one pass for the moments and norms, one for the weights.

`interface.py` defines what a kernel computes. `plain.py` is the reference in torch, against which the others are
tested: `cpu.py` (C++ in `pipeline/kernels/native/`), `cuda.py` (Triton) and `apex.py` (NVIDIA's multi-tensor kernels),
which are limited by memory bandwidth.
"""
