"""Section `checks`: every kernel against float64, and gradients and loss curves of a small model against the CPU's."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import attention as attention_benchmark
from benchmarks import kernels
from benchmarks.batches import make_batch
from benchmarks.flat import flat_shards
from benchmarks.gpu.setting import DROPOUT, MINI, Setting
from benchmarks.measuring import relative_error
from benchmarks.plain_engine import PlainEngine
from pipeline.checkpoints.checkpoint import fragments
from pipeline.checkpoints.saving import Copies
from pipeline.families.bert import build
from pipeline.kernels import fp8
from pipeline.kernels.attention import attention, backend
from pipeline.kernels.backends import UnavailableError
from pipeline.kernels.config import Fp8
from pipeline.kernels.lamb.backends import make_kernel
from pipeline.kernels.lamb.interface import Coefficients, LambKernel, State
from pipeline.kernels.lamb.plain import PlainKernel
from pipeline.losses.cross_entropy import cross_entropy_sum
from pipeline.optim.shards import cut_at_stacks

LIMITS = {
    "training fp8": 0.1, "fp8": 1e-2, "fp32": 2e-5, "tf32": 1e-2, "fp16": 5e-3, "gradients bf16": 5e-2,
    "attention bf16 backward": 6e-2, "bf16": 3e-2,
}  # fmt: skip
"""Largest error by a part of its name; the first that fits applies. The backward pass of plain torch's attention has
an error of 0.03 in bf16 on the same sequences, because the gradient follows from an output that is rounded, too."""


def check_attention(device: torch.device, dtype: torch.dtype, window: int | None = None) -> dict[str, float]:
    """Forward and backward against float64, sequence by sequence, over ragged lengths.

    Args:
        device, dtype: of the tensors.
        window: number of tokens on either side that a token attends to; None: all.
    """
    lengths = [128, 7, 512, 1, 63, 256]
    cu_seqlens = torch.tensor(np.cumsum([0, *lengths]), dtype=torch.int32, device=device)
    torch.manual_seed(1)
    qkv = torch.randn(sum(lengths), 3, 4, 64, device=device).to(dtype).requires_grad_()
    out = attention(qkv, cu_seqlens, max(lengths), window=window)
    out.float().square().sum().backward()
    exact = qkv.detach().double().cpu().requires_grad_()
    parts = []
    for piece in exact.split(lengths):
        q, k, v = (piece[:, i].transpose(0, 1) for i in range(3))  # (N, L, D)
        places = torch.arange(len(piece))
        far = (places[:, None] - places).abs() > (len(piece) if window is None else window)
        scores = (q @ k.transpose(1, 2) / 8).masked_fill(far, float("-inf"))
        parts.append((scores.softmax(-1) @ v).transpose(0, 1))
    expected = torch.cat(parts)
    expected.square().sum().backward()
    assert qkv.grad is not None and exact.grad is not None, "backward fills both"
    pairs = {"forward": (out, expected), "backward": (qkv.grad, exact.grad)}
    return {
        way: attention_benchmark.error_of(ours.detach().cpu(), theirs.detach(), lengths)
        for way, (ours, theirs) in pairs.items()
    }


def check_local_attention(device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """The same for the window of ModernBERT."""
    return check_attention(device, dtype, window=64)


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


def check_fp8(device: torch.device, way: Fp8) -> dict[str, float]:
    """Products with factors in FP8, computed in this way, against float64 products of the same rounded factors.

    `quantise` is the number of bytes in which the kernel of the quantisation, if there is one, differs from torch.
    """
    generator = torch.Generator().manual_seed(5)
    x, weight, grad = (torch.randn(size, generator=generator) for size in ((1100, 1024), (512, 1024), (1100, 512)))
    errors = {"quantise": 0.0}
    pairs = {
        "forward": ((x, fp8.FORWARD), (weight, fp8.FORWARD)),
        "of input": ((grad, fp8.BACKWARD), (weight.t().contiguous(), fp8.FORWARD)),
    }
    for name, pair in pairs.items():
        factors = [factor.bfloat16().to(device) for factor, _ in pair]
        types = [dtype for _, dtype in pair]
        a, b = (fp8.quantise(factor, dtype) for factor, dtype in zip(factors, types, strict=True))
        plain = fp8.quantise(factors[0], types[0], "plain")
        errors["quantise"] += float((plain.values.view(torch.uint8) != a.values.view(torch.uint8)).sum())
        exact_a, exact_b = ((factor.values.double() * factor.scales).cpu() for factor in (a, b))
        out = fp8.multiply(a, b, None, torch.bfloat16, way)
        errors[name] = relative_error(out, exact_a @ exact_b.T)
    return errors


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


def curve(device: torch.device, dtype: torch.dtype, steps: int, way: Fp8 = "none") -> list[float]:
    """Losses of a small model that is trained on a few fixed batches."""
    engine = PlainEngine(replace(MINI, fp8=way), 500, device, dtype)
    batches = [make_batch([128, 90, 128, 31], 500, seed).to(device) for seed in range(4)]
    return [engine.step(batches[step % 4]).item() for step in range(steps)]


def gradients(device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
    """Gradients of a small model on one batch, by name of the parameter, on the CPU in float64."""
    torch.manual_seed(0)
    model = build(MINI, 500).to(device, dtype)
    batch = make_batch([128, 90, 128, 31], 500, 7).to(device)
    model(batch).loss.backward()
    named = model.named_parameters()
    return {name: p.grad.double().cpu() for name, p in named if p.grad is not None}


def gradient_error(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """Largest relative error of a tensor's gradient by the Euclidean norm.

    The error of a tensor with a tiny gradient is divided by a hundredth of the mean norm instead: the bias of the keys
    of attention has no influence on the loss, and its gradient is rounding.
    """
    floor = 1e-2 * float(torch.stack([values.norm() for values in expected.values()]).mean())
    return max(
        float((found[name] - exact).norm()) / max(float(exact.norm()), floor) for name, exact in expected.items()
    )


def checks(setting: Setting) -> Iterator[tuple[str, Any]]:
    """Yield all errors by name, again and again as their number grows, and under `failed` those above `LIMITS`."""
    errors: dict[str, float] = {}
    for found in chain(kernel_errors(setting), training_errors(setting)):
        errors |= found
        yield "errors", dict(errors)
        yield "failed", [name for name, error in errors.items() if not error < limit_of(name)]
    yield "attention_backend", {p: backend(setting.device, torch.bfloat16, p) for p in (0.0, DROPOUT)}
    yield "kernels", kernels.chosen(setting.device)


def kernel_errors(setting: Setting) -> Iterator[dict[str, float]]:
    """Errors of each kernel against float64, by its name, the type and what is compared."""
    device = setting.device
    for dtype, name in ((torch.float32, "fp32"), (torch.bfloat16, "bf16"), (torch.float16, "fp16")):
        for kernel, function in (
            ("attention", check_attention),
            ("local attention", check_local_attention),
            ("cross_entropy", check_cross_entropy),
        ):
            yield {f"{kernel} {name} {way}": error for way, error in function(device, dtype).items()}
        yield {f"{name} {kernel}": error for kernel, error in kernels.check(device, dtype).items()}
        for case, found in attention_benchmark.check(device, dtype):
            yield {f"{name} triton attention, {case}, {way}": error for way, error in found.items()}
    yield lamb_errors(device) | {"checkpoint fp32": check_copies(device)}
    if setting.fp8 != "none":
        for way in dict.fromkeys((setting.fp8, "emulated")):
            yield {f"fp8 {way} {what}": error for what, error in check_fp8(device, way).items()}


def training_errors(setting: Setting) -> Iterator[dict[str, float]]:
    """Errors of gradients and loss curves of a small model against those that the CPU computes."""
    device, steps, cpu = setting.device, 3 if setting.tiny else 20, torch.device("cpu")
    exact, reference = gradients(cpu, torch.float64), curve(cpu, torch.float32, steps)
    for dtype, name in ((torch.float32, "fp32"), (torch.bfloat16, "bf16")):
        yield {f"gradients {name}": gradient_error(gradients(device, dtype), exact)}
        yield {f"training {name}": curve_error(curve(device, dtype, steps), reference)}
    if setting.fp8 != "none":
        yield {"training fp8": curve_error(curve(device, torch.bfloat16, steps, setting.fp8), reference)}
    torch.set_float32_matmul_precision("high")
    yield {"training tf32": curve_error(curve(device, torch.float32, steps), reference)}
    torch.set_float32_matmul_precision("highest")


def curve_error(found: list[float], expected: list[float]) -> float:
    """Largest relative difference of two loss curves."""
    return max(abs(a - b) / b for a, b in zip(found, expected, strict=True))


def limit_of(name: str) -> float:
    """The largest error that is accepted under this name."""
    return next(limit for part, limit in LIMITS.items() if part in name)
