"""Errors of the kernels of a layer against float64, and their times compared with the bound by memory bandwidth.

A region is the group of operations that one kernel replaces, forward and backward together. Each is timed as separate
torch operations (`plain`), as this project's Triton kernels (`triton`), under torch.compile (`compile`), and with
liger-kernel if it is installed and has the kernel. `floor_ms` is the least memory traffic of the region, divided by the
bandwidth of a copy. Matrix products in a region add equally to all of its times, and not to its floor.
"""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.measuring import bytes_per_second, relative_error, seconds
from pipeline.data.labels import IGNORED
from pipeline.kernels import gelu
from pipeline.kernels.backends import Backend, triton_kernels
from pipeline.kernels.linear import Linear
from pipeline.kernels.residual_norm import residual_norm
from pipeline.losses.cross_entropy import cross_entropy_sum
from pipeline.losses.projection import projected_cross_entropy_sum

DROPOUT = 0.1
EPS = 1e-12
PLAIN: Backend = "plain"
Ways = dict[str, Callable[..., Tensor]]
CALLS = 10  # on a GPU between two synchronisations, so that the host's time is hidden as it is in training


class Region(NamedTuple):
    """The operations that one kernel replaces, at one shape."""

    floor_bytes: int
    inputs: list[Tensor]  # gradients are taken of those that require them
    ways: Ways  # each gives the region's output


def backends(device: torch.device) -> list[Backend]:
    """The implementations that can run on this device."""
    return ["plain", "triton"] if device.type == "cuda" or os.environ.get("TRITON_INTERPRET") == "1" else ["plain"]


def drawn(device: torch.device, dtype: torch.dtype, *sizes: tuple[int, ...]) -> list[Tensor]:
    """Random inputs with gradients, rounded to bf16 and equal on every device and in every type."""
    generator = torch.Generator().manual_seed(4)
    values = [torch.randn(size, generator=generator).bfloat16() for size in sizes]
    return [value.to(device, dtype).requires_grad_() for value in values]


def gradients(out: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    """Output and gradients of a weighted sum of it."""
    weights = torch.linspace(0.5, 1.5, out.numel(), dtype=torch.float64, device=out.device).view_as(out)
    return [out.detach(), *torch.autograd.grad((out * weights).sum(), inputs)]


def errors_of(
    function: Callable[..., Tensor], reference: Callable[..., Tensor], device: torch.device, dtype: torch.dtype,
    *sizes: tuple[int, ...],
) -> dict[str, float]:  # fmt: skip
    """`function` in `dtype` on the device against `reference` in float64 on the CPU."""
    inputs, exact = drawn(device, dtype, *sizes), drawn(torch.device("cpu"), torch.float64, *sizes)
    found, expected = gradients(function(*inputs), inputs), gradients(reference(*exact), exact)
    errors = [relative_error(ours, theirs) for ours, theirs in zip(found, expected, strict=True)]
    return {"forward": errors[0], "backward": max(errors[1:])}


def norm(x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor, *, backend: Backend, p: float = 0.0) -> Tensor:
    """The operation after the attention and after the feed-forward network of a layer."""
    return residual_norm(x, residual, weight, bias, EPS, p, backend)


def network(width: int, inner: int, backend: Backend, approximate: gelu.Approximate, recompute: bool) -> nn.ModuleList:
    """A feed-forward network without weights of its own; see `applied`."""
    with torch.device("meta"):
        first = Linear(width, inner, backend=backend, ported=recompute)
        return nn.ModuleList([first, gelu.GeluLinear(inner, width, approximate, recompute, backend=backend)])


def applied(modules: nn.ModuleList, x: Tensor, *parameters: Tensor) -> Tensor:
    """The network's output (T, H) with both products' weights and biases given."""
    first, second = ({"weight": w, "bias": b} for w, b in (parameters[:2], parameters[2:]))
    inner, port, _ = torch.func.functional_call(modules[0], first, (x,))
    out: Tensor = torch.func.functional_call(modules[1], second, (inner, port))[0]
    return out


def entropy(labels: Tensor, max_bytes: int, backend: Backend, *inputs: Tensor) -> Tensor:
    """Cross entropy of a product of rows, weight and bias."""
    rows, weight, bias = inputs
    return projected_cross_entropy_sum(rows, weight, bias, labels.to(rows.device), max_bytes, backend).loss


def check_dropout(device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """Return the errors against float64, with the mask that the gradients show, and the dropped fraction."""
    rows = 300 if device.type == "cuda" else 30  # the interpreter is slow
    sizes = ((rows, 1024), (rows, 1024), (1024,), (1024,))
    ones = drawn(device, torch.float32, *sizes)
    torch.manual_seed(5)
    _, x_grad, residual_grad, *_ = gradients(norm(*ones, backend="triton", p=DROPOUT), ones)
    mask = (x_grad / residual_grad).double().cpu()

    def kernel(*inputs: Tensor) -> Tensor:
        torch.manual_seed(5)
        return norm(*inputs, backend="triton", p=DROPOUT)

    def reference(x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return functional.layer_norm(residual + x * mask, weight.shape, weight, bias, EPS)

    share = abs(float((mask == 0).double().mean()) - DROPOUT) / DROPOUT
    standard_error = math.sqrt(DROPOUT * (1 - DROPOUT) / mask.numel()) / DROPOUT
    return errors_of(kernel, reference, device, dtype, *sizes) | {"share": 0.0 if share < 5 * standard_error else share}


def check(device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """Errors of every kernel that runs here, by name."""
    errors: dict[str, float] = {}
    # Odd numbers of rows; few of them and one width where the interpreter takes each program's time.
    tokens, masked, widths = (77, 300, (256, 768, 1000, 1024)) if device.type == "cuda" else (7, 20, (1000,))
    labels = torch.arange(masked) * 16 % 5000
    labels[::7] = IGNORED

    def add(name: str, ways: Iterable[Callable[..., Tensor]], *sizes: tuple[int, ...]) -> None:
        kernel, reference = ways
        found = errors_of(kernel, reference, device, dtype, *sizes)
        errors.update({f"{name} {way}": error for way, error in found.items()})

    for backend in backends(device):
        for width in widths:
            norms = (partial(norm, backend=name) for name in (backend, PLAIN))
            add(f"{backend} norm {width}", norms, (tokens, width), (tokens, width), (width,), (width,))
        for approximate in gelu.APPROXIMATE.values():
            for recompute in (False, True):
                networks = (
                    partial(applied, network(64, 1100, *options))
                    for options in ((backend, approximate, recompute), (PLAIN, approximate, False))
                )
                sizes = ((tokens, 64), (1100, 64), (1100,), (64, 1100), (64,))
                add(f"{backend} gelu {approximate} {recompute=}", networks, *sizes)
        for max_bytes in (1 << 16, 1 << 30):
            ways = (partial(entropy, labels, *options) for options in ((max_bytes, backend), (1 << 30, PLAIN)))
            add(f"{backend} logits in {max_bytes} bytes", ways, (masked, 32), (5000, 32), (5000,))
    if "triton" in backends(device):
        errors |= {f"triton dropout {way}": error for way, error in check_dropout(device, dtype).items()}
    return errors


def regions(device: torch.device, tokens: int, hidden: int, words: int) -> dict[str, Region]:
    """Return the regions in bf16 with the shapes of a micro-batch, in which a seventh of the tokens is masked."""
    draw, masked, inner = partial(drawn, device, torch.bfloat16), tokens // 7, 4 * hidden
    made: dict[str, Region] = {}
    for p in (0.0, DROPOUT):
        ways: Ways = {backend: partial(norm, backend=backend, p=p) for backend in backends(device)}
        inputs = draw((tokens, hidden), (tokens, hidden), (hidden,), (hidden,))
        # x, residual, output; its gradient, x, residual, and one gradient or two
        made[f"residual norm, dropout {p}"] = Region((7 if p == 0.0 else 8) * tokens * hidden * 2, inputs, ways)
    for recompute in (False, True):
        ways = {b: partial(applied, network(hidden, inner, b, "none", recompute)) for b in backends(device)}
        inputs = draw((tokens, hidden), (inner, hidden), (inner,), (hidden, inner), (hidden,))
        # GELU's input and output; input, output's gradient, input's gradient, and the output again
        made[f"products around GELU, {recompute=}"] = Region((6 if recompute else 5) * tokens * inner * 2, inputs, ways)
    labels = torch.randint(words, (masked,), device=device)
    ways = {b: partial(_loss, labels=labels, backend=b) for b in backends(device)}
    ways["torch"] = lambda x: functional.cross_entropy(x.float(), labels, reduction="sum")
    made["cross entropy"] = Region(3 * masked * words * 2, draw((masked, words)), ways)
    if device.type == "cuda":  # Triton's interpreter cannot run liger-kernel's functions
        add_liger(made, labels)
    for name, bound in (("at once", 1 << 40), ("in four chunks", masked * words * 2 // 4 + 1)):
        ways = {b: partial(entropy, labels, bound, b) for b in backends(device)}
        # As above, with the gradient written over the logits.
        made[f"logits {name}"] = Region(3 * masked * words * 2, draw((masked, hidden), (words, hidden), (words,)), ways)
    return made


def _loss(logits: Tensor, labels: Tensor, backend: Backend) -> Tensor:
    return cross_entropy_sum(logits, labels, backend).loss


def add_liger(made: dict[str, Region], labels: Tensor) -> None:
    """liger-kernel's counterparts, where it is installed: LayerNorm after separate dropout and sum; cross entropy."""
    try:
        from liger_kernel.transformers import functional as liger
    except ImportError:
        return

    def liger_norm(x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        out: Tensor = liger.liger_layer_norm(residual + functional.dropout(x, DROPOUT), weight, bias, EPS)
        return out

    def liger_entropy(x: Tensor) -> Tensor:
        # It writes the gradient over the logits in the forward pass: a copy, or the next call would not see logits.
        out: Tensor = liger.liger_cross_entropy(x.clone(), labels, reduction="sum")
        return out

    made[f"residual norm, dropout {DROPOUT}"].ways["liger"] = liger_norm
    made["cross entropy"].ways["liger"] = liger_entropy


def measure(device: torch.device, tiny: bool, rounds: int, more: Mapping[str, Region]) -> Iterator[tuple[str, Any]]:
    """Times of every region and implementation, as `times` yields them; `more` are regions without a compiled form."""
    tokens, hidden, words = (64, 64, 500) if tiny else (32_768, 1024, 30_522)
    made = regions(device, tokens, hidden, words)
    if device.type == "cuda":
        for region in made.values():
            region.ways["compile"] = torch.compile(region.ways["plain"], dynamic=False)
    return times(made | dict(more), device, tiny, rounds)


def times(made: Mapping[str, Region], device: torch.device, tiny: bool, rounds: int) -> Iterator[tuple[str, Any]]:
    """Yield the rate of a copy, and the milliseconds, forward and backward, of every region and implementation with
    its `floor_ms`."""
    bandwidth = bytes_per_second(device, 1 << (20 if tiny else 30), rounds)
    yield "copy_gb_per_s", bandwidth / 1e9
    for name, region in made.items():
        milliseconds = {way: time_of(call, region.inputs, device, rounds) * 1e3 for way, call in region.ways.items()}
        yield name, {"floor_ms": region.floor_bytes / bandwidth * 1e3} | milliseconds


def time_of(function: Callable[..., Tensor], inputs: list[Tensor], device: torch.device, rounds: int) -> float:
    """Seconds of one forward and backward pass."""
    grad = torch.ones_like(function(*inputs))

    calls = CALLS if device.type == "cuda" else 1

    def burst() -> None:
        for _ in range(calls):
            torch.autograd.grad(function(*inputs), inputs, grad)

    return seconds(burst, device, rounds) / calls


def chosen(device: torch.device) -> str:
    """Return the backend that `auto` selects on this device."""
    return "plain" if triton_kernels("gelu", "auto", device.type) is None else "triton"
