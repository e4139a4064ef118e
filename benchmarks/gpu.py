"""Kernels and the whole training step on one GPU, against references, without DeepSpeed: `benchmarks/gpu.sh`.

Checks every kernel against float64 and a training run against the same run on the CPU; then measures sequences/s, MFU
and the LAMB step of BERT-large. Prints and writes JSON. `--device cpu --tiny true` runs the same code where there is no
GPU, to keep it working; its times are meaningless.
"""

import importlib.util
import json
from dataclasses import replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse import auto_cli
from torch import Tensor, nn

from benchmarks import attention as attention_benchmark
from benchmarks import kernels
from benchmarks import lamb as lamb_benchmark
from benchmarks.batches import make_batch
from benchmarks.flat import flat_shards
from benchmarks.huggingface import adamw, huggingface, tuned_loss
from benchmarks.measuring import relative_error, seconds
from benchmarks.plain_engine import PlainEngine
from pipeline.checkpoints.checkpoint import fragments
from pipeline.checkpoints.saving import Copies
from pipeline.families.bert import BertConfig, build
from pipeline.kernels.attention import attention, backend
from pipeline.kernels.lamb.backends import make_kernel
from pipeline.kernels.lamb.interface import Coefficients, LambKernel, State, UnavailableError
from pipeline.kernels.lamb.plain import PlainKernel
from pipeline.losses.cross_entropy import cross_entropy_sum
from pipeline.model.flops import measure
from pipeline.optim.shards import cut_at_stacks
from pipeline.runlog.metrics import peak_flops

LARGE = BertConfig(1024, 24, 16, 4096, attention_probs_dropout_prob=0.0)
MINI = BertConfig(256, 4, 4, 1024, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
VOCAB_SIZE = 30_522
PACKAGES = ("triton", "transformers", "liger-kernel", "flash-attn")


def check_attention(device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """Forward and backward against float64, sequence by sequence, over ragged lengths."""
    lengths = [128, 7, 512, 1, 63, 256]
    cu_seqlens = torch.tensor(np.cumsum([0, *lengths]), dtype=torch.int32, device=device)
    torch.manual_seed(1)
    qkv = torch.randn(sum(lengths), 3, 4, 64, device=device).to(dtype).requires_grad_()
    out = attention(qkv, cu_seqlens, max(lengths))
    out.float().square().sum().backward()
    exact = qkv.detach().double().cpu().requires_grad_()
    parts = []
    for piece in exact.split(lengths):
        q, k, v = (piece[:, i].transpose(0, 1) for i in range(3))  # (N, L, D)
        parts.append(((q @ k.transpose(1, 2) / 8).softmax(-1) @ v).transpose(0, 1))
    expected = torch.cat(parts)
    expected.square().sum().backward()
    assert qkv.grad is not None and exact.grad is not None, "backward fills both"
    return {
        "forward": relative_error(out.detach(), expected.detach()),
        "backward": relative_error(qkv.grad, exact.grad),
    }


def check_cross_entropy(device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """Sum and gradient against float64."""
    torch.manual_seed(2)
    logits = torch.randn(300, 5000, device=device).to(dtype).requires_grad_()
    labels = torch.randint(5000, (300,), device=device)
    loss = cross_entropy_sum(logits, labels).loss
    loss.backward()
    exact = logits.detach().double().cpu().requires_grad_()
    expected = nn.functional.cross_entropy(exact, labels.cpu(), reduction="sum")
    expected.backward()
    assert logits.grad is not None and exact.grad is not None, "backward fills both"
    return {
        "forward": relative_error(loss.detach(), expected.detach()),
        "backward": relative_error(logits.grad, exact.grad),
    }


def check_lamb(kernel: LambKernel, device: torch.device) -> dict[str, float]:
    """Errors of a step against float64 for unaligned tensors; `repeat` is 0 if a repetition is equal bit for bit."""
    shapes = {"a": (3001, 17), "b": (5,), "c": (70_003,), "d": (64, 64)}
    (shard,) = flat_shards(shapes, lambda name: True, device)
    _, partition = cut_at_stacks(shard, lambda name: 1)
    numbers = Coefficients(0.02, 0.9, 0.999, 1e-6, 0.01, step=3)

    def drawn(where: torch.device, dtype: torch.dtype) -> State:
        generator = torch.Generator().manual_seed(3)
        param, grad, exp_avg = (torch.randn(len(shard.flat), generator=generator) for _ in range(3))
        tensors = (param, grad, exp_avg * 0.1, grad.square() * 0.1)
        return State(*(values.to(device=where, dtype=dtype) for values in tensors))

    def stepped(kernel: LambKernel, state: State) -> tuple[Tensor, State]:
        sums = kernel.moments(state, partition, numbers)
        kernel.apply(state, partition, numbers, torch.linspace(0.5, 2, len(shapes), device=sums.device))
        return sums, state

    sums, state = stepped(kernel, drawn(device, torch.float32))
    again, _ = stepped(kernel, drawn(device, torch.float32))
    exact_sums, exact = stepped(PlainKernel(), drawn(torch.device("cpu"), torch.float64))
    return {
        "sums": relative_error(sums, exact_sums),
        "weights": relative_error(state.param, exact.param),
        "moments": relative_error(state.exp_avg_sq, exact.exp_avg_sq),
        "repeat": float((sums != again).sum()),
    }


def check_copies(device: torch.device) -> float:
    """Largest difference between weights and a checkpoint of them that was begun just before they changed."""
    shards = flat_shards({"a": (3001, 1703), "b": (5,)}, lambda name: False, device)
    torch.manual_seed(4)
    for shard in shards:
        shard.flat.normal_()
        shard.init_state()
    expected = {key: values.double().cpu() for key, values in fragments(shards)}
    copies = Copies(shards)
    copies.start()
    copies.wait_on_device()
    found = {} if copies.on_device else copies.finish()  # a CPU's copies are made by the thread that finishes them
    for shard in shards:
        shard.flat.zero_()
    found = found or copies.finish()
    return max(float((found[key].double() - values).abs().max()) for key, values in expected.items())


def lamb_errors(device: torch.device) -> dict[str, float]:
    """Return the errors of every LAMB kernel that is available on this machine."""
    errors: dict[str, float] = {}
    for name in ("plain", "cpu") if device.type == "cpu" else ("plain", "cuda", "apex"):
        try:
            kernel = make_kernel(name)
        except UnavailableError:
            continue
        errors |= {f"lamb {name} fp32 {what}": error for what, error in check_lamb(kernel, device).items()}
    return errors


def curve(device: torch.device, dtype: torch.dtype, steps: int) -> list[float]:
    """Losses of a small model that is trained on a few fixed batches."""
    engine = PlainEngine(MINI, 500, device, dtype)
    batches = [make_batch([128, 90, 128, 31], 500, seed).to(device) for seed in range(4)]
    return [engine.step(batches[step % 4]).item() for step in range(steps)]


def check(device: torch.device, steps: int) -> dict[str, Any]:
    """Return all errors by name; those that are too large are listed under `failed`."""
    half = torch.bfloat16
    errors: dict[str, float] = {}
    for dtype, name in ((torch.float32, "fp32"), (half, "bf16")):
        for kernel, function in (("attention", check_attention), ("cross_entropy", check_cross_entropy)):
            errors |= {f"{kernel} {name} {way}": error for way, error in function(device, dtype).items()}
        errors |= {f"{name} {kernel}": error for kernel, error in kernels.check(device, dtype).items()}
        own = attention_benchmark.check(device, dtype)
        errors |= {f"{name} triton attention {way}": error for way, error in own.items()}
    errors |= lamb_errors(device) | {"checkpoint fp32": check_copies(device)}
    reference = curve(torch.device("cpu"), torch.float32, steps)
    for dtype, name in ((torch.float32, "fp32"), (half, "bf16")):
        ours = curve(device, dtype, steps)
        errors[f"training {name}"] = max(abs(a - b) / b for a, b in zip(ours, reference, strict=True))
    torch.set_float32_matmul_precision("high")
    errors["training tf32"] = max(
        abs(a - b) / b for a, b in zip(curve(device, torch.float32, steps), reference, strict=True)
    )
    torch.set_float32_matmul_precision("highest")
    limits = {"fp32": 2e-5, "tf32": 1e-2, "bf16": 3e-2}
    failed = [name for name, error in errors.items() if not error < next(limits[p] for p in limits if p in name)]
    return {
        "errors": errors,
        "failed": failed,
        "attention_backend": {p: backend(device, half, p) for p in (0.0, kernels.DROPOUT)},
        "kernels": kernels.chosen(device),
    }


def measure_step(
    config: BertConfig, vocab_size: int, device: torch.device, lengths: list[int], rounds: int
) -> dict[str, float]:
    """One full training step on one micro-batch."""
    engine = PlainEngine(config, vocab_size, device, torch.bfloat16)
    batch = make_batch(lengths, vocab_size, 0)
    flops = measure(lambda shape: build(shape, vocab_size), config).flops(
        num_tokens=sum(lengths),
        sum_squared_lengths=sum(n * n for n in lengths),
        num_masked=len(batch.targets["labels"]),
        num_samples=len(lengths),
    )
    on_device = batch.to(device)
    step = seconds(lambda: engine.step(on_device), device, rounds)
    lamb = seconds(engine.optimizer.step, device, rounds)
    peak = peak_flops(device, torch.bfloat16)
    figures = {
        "sequences_per_second": len(lengths) / step,
        "tokens_per_second": sum(lengths) / step,
        "step_ms": step * 1e3,
        "tflops": flops / step / 1e12,
        "lamb_ms": lamb * 1e3,
    }
    return figures | {"mfu": flops / step / peak}


def measure_huggingface(
    config: BertConfig, vocab_size: int, device: torch.device, lengths: list[int], rounds: int
) -> dict[str, Any]:
    """The same step as users of `transformers` can tune it: SDPA, torch.compile, fused AdamW, the head on masked rows.

    On a quarter of the sequences, since padding and fp32 weights take more memory.
    """
    if importlib.util.find_spec("transformers") is None:
        return {"missing": "transformers is not installed"}
    batch = make_batch(lengths[: max(1, len(lengths) // 4)], vocab_size, 0).to(device)
    step = huggingface(
        config, vocab_size, device, bf16=device.type == "cuda", make=partial(adamw, fused=True), loss_of=tuned_loss,
        width=batch.max_seqlen, compiled=device.type == "cuda",
    )  # fmt: skip
    duration = seconds(lambda: step(batch), device, rounds)
    return {"sequences_per_second": batch.num_samples / duration, "step_ms": duration * 1e3}


def versions() -> dict[str, str]:
    """Return the versions of installed packages on which the figures depend."""
    found = {name: importlib.util.find_spec(name.replace("-", "_")) for name in PACKAGES}
    return {"torch": torch.__version__} | {name: metadata.version(name) for name, spec in found.items() if spec}


def main(
    device: str = "cuda", out: Path = Path("gpu.json"), tiny: bool = False, rounds: int = 10, tiles: bool = False
) -> None:
    """Run all checks, and then measure.

    Args:
        device: torch device.
        out: JSON file of the results.
        tiny: small shapes, to run the code where there is no GPU.
        rounds: number of calls of which each median is taken.
        tiles: also time other tiles of the attention kernels.
    """
    where = torch.device(device)
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else "cpu"
    result: dict[str, Any] = {"device": name, "versions": versions(), "check": check(where, 3 if tiny else 20)}
    config, vocab_size = (replace(MINI, num_hidden_layers=1), 500) if tiny else (LARGE, VOCAB_SIZE)
    lengths = np.random.default_rng(0).integers(16, 513, 64).tolist()  # mean 264, like packed phase 2
    cases = {"phase1": [32] * 4 if tiny else [128] * 256, "phase2": [40, 70] if tiny else lengths}
    result["measured"] = {
        case: measure_step(config, vocab_size, where, case_lengths, 1 if tiny else rounds)
        for case, case_lengths in cases.items()
    }
    result["huggingface"] = {
        case: measure_huggingface(config, vocab_size, where, case_lengths, 1 if tiny else rounds)
        for case, case_lengths in cases.items()
    }
    shapes = {"ragged": [5, 20]} if tiny else {"phase 1": [128] * 256, "phase 2": lengths}
    heads, head_dim = (2, 32) if tiny else (16, 64)
    attentions = attention_benchmark.regions(where, shapes, heads, head_dim, tiles)
    result["measured"]["kernels"] = kernels.measure(where, tiny, rounds, attentions)
    result["measured"]["lamb"] = lamb_benchmark.measure("mini" if tiny else "large", where, rounds)
    out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    if result["check"]["failed"]:
        raise SystemExit(f"error: too far from the reference: {', '.join(result['check']['failed'])}")


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
