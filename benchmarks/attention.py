"""Errors and times of attention, of which `benchmarks.kernels` is the frame.

The floor is the memory traffic of the packed tensors, since short sequences are bound by it; products and the random
numbers of dropout bound long ones. The plain form is torch's own attention on a padded copy.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.kernels import DROPOUT, Region, Ways, backends, drawn, gradients
from pipeline.kernels import plain_attention
from pipeline.kernels.attention import attention
from pipeline.kernels.backends import triton_kernels
from pipeline.kernels.config import AttentionBackend
from pipeline.kernels.dropout import draw_seed


class Case(NamedTuple):
    """Sequences and heads of a check."""

    lengths: tuple[int, ...]
    heads: int
    head_dim: int
    dropout_p: float = DROPOUT
    window: int | None = None


PACKED = (128, 7, 512, 1, 63, 256)
LONGEST = 8192
GPU_CASES = {
    "64 features": Case(PACKED, 4, 64),
    "128 features": Case(PACKED, 2, 128),
    "8,192 tokens": Case((LONGEST,), 1, 64),
    "8,192 tokens, 128 features": Case((LONGEST,), 1, 128),
    "8,192 tokens, window": Case((LONGEST,), 1, 64, 0.0, 64),
}
CPU_CASES = {"64 features": Case((33, 5), 4, 64), "128 features": Case((18, 1), 1, 128)}
"""Few tokens, because the interpreter is slow."""
TILES = (
    (64, 64, 4, 2),
    (128, 64, 8, 2),
    (128, 64, 4, 3),
    (128, 32, 4, 3),
    (64, 128, 8, 2),
    (32, 128, 8, 2, 128),
    (16, 128, 8, 2, 128),
)
"""Queries, keys, warps, stages and registers of tiles that can be timed beside those that the kernels take themselves.
With 128 registers two programs of the last kernel share a multiprocessor of an H100, and 18 registers are spilled."""


def bounds_of(lengths: Sequence[int], device: torch.device) -> Tensor:
    """(B + 1,) offsets at which sequences begin and end."""
    return torch.tensor([0, *lengths], device=device).cumsum(0).to(torch.int32)


def check(device: torch.device, dtype: torch.dtype) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the errors of the Triton kernels against float64 with the same masks, for each case, where they can run.

    `repeat` counts elements of output and gradient that differ when a run is repeated.
    """
    # The interpreter has no products of bf16.
    if "triton" not in backends(device) or (device.type != "cuda" and dtype == torch.bfloat16):
        return
    for name, case in (GPU_CASES if device.type == "cuda" else CPU_CASES).items():
        yield name, check_case(case, device, dtype)


def check_case(case: Case, device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """The errors of one case. The reference is computed on the device, too: long sequences would take minutes on a
    CPU."""
    bounds, shape = bounds_of(case.lengths, device), (sum(case.lengths), 3, case.heads, case.head_dim)

    def run() -> list[Tensor]:
        torch.manual_seed(5)
        (qkv,) = drawn(device, dtype, shape)
        out = attention(qkv, bounds, max(case.lengths), case.dropout_p, "triton", window=case.window)
        return gradients(out, [qkv])

    found, again = run(), run()
    torch.manual_seed(5)
    seed = draw_seed(case.dropout_p, device)
    (exact,) = drawn(device, torch.float64, shape)
    expected = gradients(plain_attention.attend(exact, bounds, case.dropout_p, seed, window=case.window), [exact])
    errors = [error_of(ours, theirs, case.lengths) for ours, theirs in zip(found, expected, strict=True)]
    differing = sum(int((one != other).sum()) for one, other in zip(found, again, strict=True))
    return {"forward": errors[0], "backward": errors[1], "repeat": float(differing)}


def error_of(found: Tensor, expected: Tensor, lengths: Sequence[int]) -> float:
    """Largest relative error of an output (T, N, D) or of the gradient (T, 3, N, D) of queries, keys and values.

    Each sequence is compared by itself, and so is the gradient of its queries, its keys and its values: the longer a
    sequence, the smaller its values, which those of a short one would hide. A gradient that is almost zero, such as
    that of the queries of a single token, is divided by a hundredth of the largest one of the sequence.
    """
    worst = 0.0
    for ours, theirs in zip(found.double().split([*lengths]), expected.split([*lengths]), strict=True):
        least = 1e-2 * float(theirs.abs().max())
        for part, exact in zip(*(x.unbind(1) if x.dim() == 4 else (x,) for x in (ours, theirs)), strict=True):
            worst = max(worst, float((part - exact).abs().max()) / max(least, float(exact.abs().max())))
    return worst


def regions(
    device: torch.device, cases: Mapping[str, Sequence[int]], heads: int, head_dim: int, tiles: bool
) -> dict[str, Region]:
    """Return attention, whose plain form is torch's on a padded copy, at given lengths.

    Args:
        device: of the tensors.
        cases: lengths of sequences by name.
        heads: number of heads.
        head_dim: features of a head.
        tiles: whether to add `TILES` to the ways on a GPU.
    """
    made, cuda = dict[str, Region](), device.type == "cuda"
    dtype = torch.bfloat16 if cuda else torch.float16
    for name, lengths in cases.items():
        bounds, longest = bounds_of(lengths, device), max(lengths)
        (qkv,) = drawn(device, dtype, (sum(lengths), 3, heads, head_dim))
        for p in (0.0, DROPOUT):
            fixed: dict[str, Any] = {"cu_seqlens": bounds, "max_seqlen": longest, "dropout_p": p}
            peers: list[AttentionBackend] = ["varlen"] if cuda and p == 0.0 else []
            peers += ["flash_attn"] if cuda and find_spec("flash_attn") is not None else []
            ways: Ways = {"plain": partial(attention, wanted="padded", **fixed)}
            if "triton" in backends(device):
                peers.append("triton")
            ways |= {peer: partial(attention, wanted=peer, **fixed) for peer in peers}
            if tiles and cuda:
                ways |= {f"triton {tile}": partial(_tiled, tile=tile, **fixed) for tile in TILES}
            # qkv and output; qkv, output's gradient, and the gradient of qkv
            made[f"attention {name}, dropout {p}"] = Region(11 * qkv.numel() // 3 * qkv.element_size(), [qkv], ways)
    return made


def _tiled(qkv: Tensor, tile: tuple[int, ...], **fixed: Any) -> Tensor:
    """Attention with one size of tiles in all three kernels."""
    own = triton_kernels("attention", "triton", qkv.device.type)
    assert own is not None, "the backend triton is an error where there is no Triton"
    out: Tensor = own.attend(qkv, shapes=own.Tilings(*[own.Tiling(*tile)] * 3), **fixed)
    return out
