"""Section `graphs`: micro-batches launched as CUDA graphs beside single launches, their bits and their speed."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from benchmarks.batches import make_batch
from benchmarks.gpu.setting import DROPOUT, Setting
from benchmarks.gpu.steps import timed
from benchmarks.plain_engine import PlainEngine
from pipeline.data.batch import Batch, padded
from pipeline.engine.graphs import Graphs
from pipeline.families.bert import build

MULTIPLE = 1024
"""`data.token_multiple`."""


def fixed(lengths: list[int], longest: int, setting: Setting, seed: int) -> Batch:
    """A micro-batch on the device, padded to a fixed shape."""
    return padded(make_batch(lengths, setting.vocab_size, seed), MULTIPLE, 0, longest).to(setting.device)


def graphs(setting: Setting) -> Iterator[tuple[str, Any]]:
    """Yield bits that differ, and steps of BERT-large by size of the micro-batch, launched one by one and as graphs."""
    if not setting.on_gpu:
        yield "missing", "CUDA graphs require a GPU"
        return
    yield "tensors_differ", differing(setting)
    for size in setting.micro_batches[:2]:
        batch = fixed([setting.length] * size, setting.length, setting, 0)
        engine = PlainEngine(setting.config(DROPOUT), setting.vocab_size, setting.device, setting.dtype)
        yield f"phase1 {size}, launched", timed(engine, batch, setting)
        Graphs(engine.model).install()
        yield f"phase1 {size}, graph", timed(engine, batch, setting)
        del engine
        torch.cuda.empty_cache()


def differing(setting: Setting) -> int:
    """Number of losses and gradients, with dropout, that graphs compute with other bits, over two shapes in turn."""
    lengths = [[setting.length] * 8, [setting.length, 7, 90]]
    batches = [fixed(lengths[seed % 2], setting.length, setting, seed) for seed in range(4)]
    torch.manual_seed(0)
    model = build(setting.config(DROPOUT), setting.vocab_size).to(setting.device, setting.dtype)
    launched = gradients(model, batches)
    Graphs(model).install()
    return sum(not torch.equal(a, b) for a, b in zip(launched, gradients(model, batches), strict=True))


def gradients(model: torch.nn.Module, batches: list[Batch]) -> list[Tensor]:
    """Loss and gradients of each micro-batch, with dropout seeded by its number, on the CPU."""
    found = []
    for seed, batch in enumerate(batches):
        torch.manual_seed(seed)
        output = model(batch)
        output.loss.backward()
        found += [output.loss.detach().cpu(), *(p.grad.cpu() for p in model.parameters() if p.grad is not None)]
        model.zero_grad()
    return found
