"""Triton kernels for GPUs. Each has a reference in plain torch, which documents it and against which it is tested.

They are imported by `pipeline.kernels.backends` only, so that Triton need not be installed. With TRITON_INTERPRET=1 the
same code runs on the CPU, slowly; the tests use this. No kernel adds with atomics: programs write partial sums to slots
of their own, which torch adds in a fixed order, so that runs are reproducible bit for bit.
"""
