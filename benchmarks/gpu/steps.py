"""Sections that time the training step and its parts: steps, matrix products, the update, a profile."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks import lamb
from benchmarks.batches import make_batch
from benchmarks.gpu.runs import waits_of_a_run
from benchmarks.gpu.setting import DROPOUT, Setting
from benchmarks.gpu.waits import synchronisations
from benchmarks.measuring import bytes_per_second, seconds
from benchmarks.plain_engine import PlainEngine
from pipeline.data.batch import Batch
from pipeline.families.bert import build
from pipeline.kernels import fp8
from pipeline.model.flops import measure
from pipeline.runlog.metrics import peak_flops


def steps(setting: Setting) -> Iterator[tuple[str, Any]]:
    """Training steps of BERT-large on one micro-batch each, by size of the micro-batch: without and with dropout, and
    with dropout and products in FP8."""
    yield from steps_with(setting, 0.0)
    yield from steps_with(setting, DROPOUT)
    if setting.fp8 != "none":
        for case, values in steps_with(setting, DROPOUT, True):
            yield f"{case}, fp8 {setting.fp8}", values


def steps_with(setting: Setting, dropout: float, in_fp8: bool = False) -> Iterator[tuple[str, Any]]:
    """The same with this dropout of hidden states and attention. MFU refers to the peak of bf16 in any case."""
    config = setting.config(dropout, setting.fp8 if in_fp8 else "none")
    peak = peak_flops(setting.device, setting.dtype)
    engine = PlainEngine(config, setting.vocab_size, setting.device, setting.dtype)
    flops = measure(lambda shape: build(shape, setting.vocab_size), config).flops
    cases = {f"phase1 {size}": [setting.length] * size for size in setting.micro_batches}
    cases[f"phase2 {len(setting.packed)}"] = setting.packed
    for case, lengths in cases.items():
        batch = make_batch(lengths, setting.vocab_size, 0)
        work = flops(
            num_tokens=sum(lengths),
            sum_squared_lengths=sum(n * n for n in lengths),
            num_masked=len(batch.targets["labels"]),
            num_samples=len(lengths),
        )
        try:
            figures = timed(engine, batch.to(setting.device), setting)
        except torch.cuda.OutOfMemoryError:
            yield f"{case}, dropout {dropout:g}", {"error": "out of memory"}
            continue
        rate = work / figures["step_ms"] * 1e3
        yield f"{case}, dropout {dropout:g}", figures | {"tflops": rate / 1e12, "mfu": rate / peak}
    del engine
    if setting.on_gpu:
        torch.cuda.empty_cache()


def timed(engine: PlainEngine, batch: Batch, setting: Setting) -> dict[str, float]:
    """Rates, milliseconds and peak memory of a step on this micro-batch."""
    if setting.on_gpu:
        torch.cuda.reset_peak_memory_stats(setting.device)
    step = seconds(lambda: engine.step(batch), setting.device, setting.rounds)
    return {
        "sequences_per_second": batch.num_samples / step,
        "tokens_per_second": len(batch.input_ids) / step,
        "step_ms": step * 1e3,
    } | ({"peak_gib": torch.cuda.max_memory_allocated(setting.device) / 2**30} if setting.on_gpu else {})


def products(setting: Setting) -> Iterator[tuple[str, Any]]:
    """TFLOP/s of the matrix products of a layer and of the logits, at the shapes of the largest micro-batch.

    Those of FP8 are without quantisation, whose milliseconds stand beside them.
    """
    config, tokens = setting.config(0.0), setting.micro_batches[-1] * setting.length
    hidden, inner, masked = config.hidden_size, config.intermediate_size, tokens // 7
    shapes = {
        "query, key, value": (tokens, hidden, 3 * hidden),
        "attention output": (tokens, hidden, hidden),
        "feed-forward in": (tokens, hidden, inner),
        "feed-forward out": (tokens, inner, hidden),
        "logits": (masked, hidden, setting.vocab_size),
        "logits, vocabulary padded to 128": (masked, hidden, -(-setting.vocab_size // 128) * 128),
    }
    for name, (rows, inside, columns) in shapes.items():
        x, weight, gradient = (
            torch.randn(shape, device=setting.device, dtype=setting.dtype)
            for shape in ((rows, inside), (columns, inside), (rows, columns))
        )
        ways = {
            "forward": lambda x=x, weight=weight: x @ weight.T,
            "of input": lambda gradient=gradient, weight=weight: gradient @ weight,
            "of weight": lambda gradient=gradient, x=x: gradient.T @ x,
        }
        work = 2 * rows * inside * columns / 1e12
        rates = {way: work / seconds(call, setting.device, setting.rounds) for way, call in ways.items()}
        if setting.fp8 == "native" and "logits" not in name:
            times = {way: seconds(call, setting.device, setting.rounds) for way, call in in_fp8(x, weight).items()}
            rates |= {f"fp8 {way}": work / time for way, time in times.items() if way != "quantisation"}
            rates["fp8 quantisation, ms"] = times["quantisation"] * 1e3
        yield name, rates


def in_fp8(x: Tensor, weight: Tensor) -> dict[str, Callable[[], Any]]:
    """The forward product in FP8 with both ways of accumulation, and the quantisation of its left factor."""
    a, b = fp8.quantise(x, fp8.FORWARD), fp8.quantise(weight, fp8.FORWARD)

    def product(fast: bool) -> Tensor:
        scales = a.scales, b.scales.t()
        return torch._scaled_mm(a.values, b.values.t(), *scales, out_dtype=torch.bfloat16, use_fast_accum=fast)

    return {
        "forward": lambda: product(False),
        "forward, fast accumulation": lambda: product(True),
        "quantisation": lambda: fp8.quantise(x, fp8.FORWARD),
    }


def update(setting: Setting) -> Iterator[tuple[str, Any]]:
    """The LAMB step of BERT-large beside torch's fused AdamW, and the bandwidth of a copy of one GiB."""
    yield from lamb.measure("mini" if setting.tiny else "large", setting.device, setting.rounds).items()
    yield "copy_gb_per_s", bytes_per_second(setting.device, 1 << (20 if setting.tiny else 30), setting.rounds) / 1e9


def profiled(setting: Setting) -> Iterator[tuple[str, Any]]:
    """The kernels of a training step with dropout by time, and the places at which the host waits for the device: in
    that step, and in a step of `pipeline.pretrain`, with DeepSpeed, loader and trainer."""
    engine = PlainEngine(setting.config(DROPOUT), setting.vocab_size, setting.device, setting.dtype)
    lengths = [setting.length] * setting.micro_batches[-1]
    batch = make_batch(lengths, setting.vocab_size, 0).to(setting.device)
    for _ in range(3):
        engine.step(batch)
    with synchronisations(setting.on_gpu) as waits:
        engine.step(batch)
    yield "synchronisations", waits
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if setting.on_gpu else [])]
    with profile(activities=activities) as profiler:
        engine.step(batch)
        if setting.on_gpu:
            torch.cuda.synchronize(setting.device)
    events = profiler.key_averages()

    def microseconds(event: Any) -> float:
        return float(event.self_device_time_total if setting.on_gpu else event.self_cpu_time_total)

    ordered = sorted(events, key=microseconds, reverse=True)[:30]
    kernels = [{"name": event.key[:90], "calls": event.count, "ms": microseconds(event) / 1e3} for event in ordered]
    yield "total_ms", sum(map(microseconds, events)) / 1e3
    yield "kernels", kernels
    del engine, profiler
    yield "synchronisations of pipeline.pretrain", waits_of_a_run(setting)
