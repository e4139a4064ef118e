"""Section `huggingface`: the training step of `transformers` at its best batch, as its users can tune it."""

import importlib.util
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import torch

from benchmarks.batches import make_batch
from benchmarks.gpu.setting import DROPOUT, Setting
from benchmarks.huggingface import adamw, huggingface, tuned_loss
from benchmarks.measuring import seconds


def huggingface_steps(setting: Setting) -> Iterator[tuple[str, Any]]:
    """SDPA, bf16 by autocast, fused AdamW, the head on masked rows only, dropout 0.1: eager by batch size and compiled.

    Sequences of phase 2 are padded to the longest one of their batch. torch.compile is applied at the batch size that
    is fastest without it, because each compilation takes a minute or more.
    """
    if importlib.util.find_spec("transformers") is None:
        yield "missing", "transformers is not installed"
        return
    half = setting.packed[: len(setting.packed) // 2]
    cases = {
        "phase1": {f"{size}": [setting.length] * size for size in setting.micro_batches},
        "phase2": {f"{len(lengths)}": lengths for lengths in (half, setting.packed)},
    }
    for phase, sizes in cases.items():
        rates: dict[str, float] = {}
        for size, lengths in sizes.items():
            figures = _measure(setting, lengths, False)
            rates[size] = figures.get("sequences_per_second", 0.0)
            yield f"{phase} eager {size}", figures
        fastest = max(rates, key=lambda size: rates[size])
        if setting.on_gpu:
            yield f"{phase} compiled {fastest}", _measure(setting, sizes[fastest], True)


def _measure(setting: Setting, lengths: list[int], compiled: bool) -> dict[str, Any]:
    batch = make_batch(lengths, setting.vocab_size, 0).to(setting.device)
    try:
        step = huggingface(
            setting.config(DROPOUT), setting.vocab_size, setting.device, bf16=setting.on_gpu,
            make=partial(adamw, fused=True), loss_of=tuned_loss, width=batch.max_seqlen, compiled=compiled,
        )  # fmt: skip
        duration = seconds(lambda: step(batch), setting.device, setting.rounds)
    except torch.cuda.OutOfMemoryError:
        return {"error": "out of memory"}
    finally:
        if setting.on_gpu:
            torch.cuda.empty_cache()
    return {"sequences_per_second": batch.num_samples / duration, "step_ms": duration * 1e3}


def best(figures: dict[str, Any], phase: str) -> float:
    """Sequences per second of the fastest variant of a phase; 0 if there is none."""
    rates: Iterable[float] = (
        values.get("sequences_per_second", 0.0) for name, values in figures.items() if name.startswith(phase)
    )
    return max(rates, default=0.0)
