"""Settings of a process that trains on CPUs: threads, oneDNN's cache, and the heap.

By default glibc returns large blocks to the system, which must then clear new pages for each step's activations. Kept
blocks have a cost, too: micro-batches of unpadded samples have sizes of their own, so that their blocks lie elsewhere
in each step, and a process comes to hold the pages of all of them. Freed pages are therefore returned, but only every
few steps, so that the system seldom clears new ones.
"""

import ctypes
import os

import torch

from pipeline.runtime import distributed

STEPS_BETWEEN_TRIMS = 20


def prepare() -> None:
    """Share the cores among the local ranks, keep freed memory, and bound oneDNN's cache.

    oneDNN compiles a kernel for each shape and caches the last 1024 of them. The number of tokens of unpadded batches
    differs from step to step, and a rank of bert_mini grew to more than 8 GiB; with a hundred cached kernels training
    is as fast (`docs/benchmarks.md`).
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // distributed.local_world_size()))
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "100")  # read at the first matrix product
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        trim_threshold, top_pad, mmap_max = -1, -2, -4
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(top_pad, 64 << 20)


def trim_heap() -> None:
    """Return the pages of freed blocks to the system, where the C library is glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
