"""Triton kernels for GPUs. Each has a twin in plain torch, which says what it computes and which it is tested against.

Imported through `pipeline.kernels.backends` only, so that a machine without Triton never needs it. Under
TRITON_INTERPRET=1 the same code runs on the CPU, slowly; the tests do so. None adds with atomics: programs write
partial sums to slots of their own, which torch adds in a fixed order, so a run repeats bit for bit.
"""
