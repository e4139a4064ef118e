"""Errors and times of attention, of which `benchmarks.kernels` is the frame.

The floor is the memory traffic of the packed tensors, since short sequences are bound by it; products and the random
numbers of dropout bound long ones. The plain form is torch's own attention on a padded copy.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from benchmarks.kernels import DROPOUT, Region, Ways, backends, drawn, errors_of, gradients
from pipeline.kernels import plain_attention
from pipeline.kernels.attention import attention
from pipeline.kernels.backends import triton_kernels
from pipeline.kernels.config import AttentionBackend
from pipeline.kernels.dropout import draw_seed

PACKED = (128, 7, 512, 1, 63, 256)  # lengths of sequences, for checks
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


def check(device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """Return the errors of the Triton kernels with dropout against float64 with the same masks, where they can run.

    `repeat` counts elements of output and gradient that differ when a run is repeated.
    """
    # The interpreter has no products of bf16.
    if "triton" not in backends(device) or (device.type != "cuda" and dtype == torch.bfloat16):
        return {}
    lengths = PACKED if device.type == "cuda" else (33, 5)  # the interpreter is slow
    shape = (sum(lengths), 3, 4, 64)
    torch.manual_seed(5)
    seed = draw_seed(DROPOUT, device).cpu()

    def kernel(qkv: Tensor) -> Tensor:
        torch.manual_seed(5)
        return attention(qkv, bounds_of(lengths, device), max(lengths), DROPOUT, "triton")

    def reference(qkv: Tensor) -> Tensor:
        return plain_attention.attend(qkv, bounds_of(lengths, qkv.device), DROPOUT, seed)

    runs = []
    for _ in range(2):
        inputs = drawn(device, dtype, shape)
        runs.append(gradients(kernel(*inputs), inputs))
    differing = sum(int((one != other).sum()) for one, other in zip(*runs, strict=True))
    return errors_of(kernel, reference, device, dtype, shape) | {"repeat": float(differing)}


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
