"""Laws of pipeline/engine/cpu.py."""

import ctypes
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.engine import cpu
from pipeline.engine.engine import Engine

BLOCKS, BLOCK_BYTES = 1000, 1 << 16


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is not glibc")
def test_a_trim_returns_freed_pages_between_blocks_in_use():
    """Blocks that lie between blocks in use keep their pages after they were freed, until the heap is trimmed."""
    library = ctypes.CDLL(None)
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    blocks = [library.malloc(BLOCK_BYTES) for _ in range(2 * BLOCKS)]
    for block in blocks:
        ctypes.memset(block, 1, BLOCK_BYTES)
    for block in blocks[::2]:
        library.free(block)
    before = resident_bytes()
    cpu.trim_heap()
    after = resident_bytes()
    for block in blocks[1::2]:
        library.free(block)
    assert before - after > 0.8 * BLOCKS * BLOCK_BYTES


class CountingEngine:
    """Counts updates as DeepSpeed's engine does, with three micro-batches in each."""

    def __init__(self):
        self.micro_steps = 0

    @property
    def global_steps(self):
        return self.micro_steps // 3

    def step(self):
        self.micro_steps += 1


@pytest.mark.parametrize(("device", "expected"), [("cpu", [20, 40]), ("cuda", [])])
def test_the_engine_trims_the_heap_every_few_steps(monkeypatch, device, expected):
    """On a CPU the heap is trimmed once after every 20th update, however many micro-batches a step has, and on a GPU
    never.
    """
    counting, trimmed = CountingEngine(), []
    monkeypatch.setattr(cpu, "trim_heap", lambda: trimmed.append(counting.global_steps))
    optimizer = SimpleNamespace(set_lr=lambda lr: None)
    engine = SimpleNamespace(deepspeed=counting, optimizer=optimizer, device=SimpleNamespace(type=device))
    for _ in range(3 * 50):
        Engine.step(engine, 0.1)
    assert trimmed == expected
