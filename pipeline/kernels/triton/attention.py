"""Attention over concatenated sequences in Triton: reads packed queries, keys and values, writes packed gradients.

Every element of the gradient is summed by one program in a fixed order, so that the same input gives the same bits on
every run. Sequences of at most 128 tokens, such as those of phase 1, take one pass for that: a program has all keys of
a sequence and head, thus all terms of each query's gradient. Longer ones take two passes, in which programs own queries
and then keys. These compute scores and masks twice, which atomic additions would avoid in exchange for an arbitrary
order.

A launch depends on shapes and `max_seqlen` only, reads nothing back from the device and can be captured in a CUDA graph.

Shapes: T tokens, B sequences, N heads, D head_dim.
"""

from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from pipeline.kernels.plain_attention import lowest_kept
from pipeline.kernels.triton.attention_kernels import forward_kernel, key_value_gradient_kernel, query_gradient_kernel


class Tiling(NamedTuple):
    """The tiles of a kernel, and how it is launched."""

    queries: int
    keys: int
    warps: int
    stages: int
    """Tiles of a loop that are in shared memory, or being copied there, at a time."""


class Tilings(NamedTuple):
    """The tiles of the three kernels."""

    forward: Tiling
    query_gradient: Tiling
    key_value_gradient: Tiling


def tilings(head_dim: int, dtype: torch.dtype) -> Tilings:
    """The tiles for a head size and type, the same on every GPU and on every run, so that results are.

    A tile of scores and one or two sums of the output's size are in registers, where 128 rows take half of what 4 or 8
    warps have. With 128 keys in the last kernel the sequences of phase 1 take a single pass. Shared memory stays below
    the 99 KiB of the GPUs that have least. Exact products of fp32 run on the ordinary units, which hold their operands
    in registers too, and need small tiles.
    """
    if dtype == torch.float32:
        return Tilings(Tiling(32, 32, 4, 1), Tiling(32, 32, 4, 1), Tiling(32, 32, 4, 1))
    if head_dim <= 64:
        return Tilings(Tiling(64, 64, 4, 2), Tiling(64, 64, 4, 2), Tiling(32, 128, 8, 2))
    return Tilings(Tiling(128, 64, 8, 2), Tiling(64, 64, 8, 2), Tiling(32, 128, 8, 2))


class _Sizes(NamedTuple):
    sequences: int
    longest: int
    tokens: int
    heads: int
    head_dim: int


def _launch(
    kernel: Any,
    tiling: Tiling,
    rows: int,
    tensors: tuple[Tensor, ...],
    sizes: _Sizes,
    dropout_p: float,
    **constants: Any,
) -> None:
    """Start a program for every sequence, head, and `rows` tokens of the longest sequence."""
    blocks = triton.cdiv(sizes.longest, rows)
    programs = sizes.sequences * sizes.heads * blocks
    if not programs:
        return
    tf32 = torch.get_float32_matmul_precision() != "highest"
    kernel[(programs,)](
        *tensors, sizes.heads, sizes.tokens, blocks, sizes.head_dim**-0.5, *lowest_kept(dropout_p),
        DROP=dropout_p > 0.0, D=sizes.head_dim, WIDTH=max(16, triton.next_power_of_2(sizes.head_dim)),
        PRECISION="tf32" if tf32 else "ieee", QUERIES=tiling.queries, KEYS=tiling.keys,
        num_warps=tiling.warps, num_stages=tiling.stages, **constants,
    )  # fmt: skip


class _Attention(torch.autograd.Function):
    """Saves its input and output, which the products around it save anyway, and a number per query and head."""

    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, cu_seqlens: Tensor, max_seqlen: int, dropout_p: float, shapes: Tilings
    ) -> Tensor:
        qkv = qkv.contiguous()
        num_tokens, _, heads, head_dim = qkv.shape
        # Drawn on the device, so that nothing is read back, and a captured graph draws a new seed at each replay.
        seed = torch.empty((), dtype=torch.int64, device=qkv.device)
        if dropout_p:
            seed.random_()
        out = qkv.new_empty(num_tokens, heads, head_dim)
        log_sums = torch.empty(heads, num_tokens, dtype=torch.float32, device=qkv.device)
        ctx.sizes = _Sizes(len(cu_seqlens) - 1, max_seqlen, num_tokens, heads, head_dim)
        ctx.dropout_p, ctx.tilings = dropout_p, shapes
        ctx.save_for_backward(qkv, cu_seqlens, seed, out, log_sums)
        tiling = shapes.forward
        tensors = (qkv, cu_seqlens, seed, out, log_sums)
        _launch(forward_kernel, tiling, tiling.queries, tensors, ctx.sizes, dropout_p)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        qkv, cu_seqlens, seed, out, log_sums = ctx.saved_tensors
        grad, qkv_grad, deltas = grad.contiguous(), torch.empty_like(qkv), torch.empty_like(log_sums)
        inputs, tiling = (grad, qkv, cu_seqlens, seed), ctx.tilings.query_gradient
        whole = ctx.sizes.longest <= ctx.tilings.key_value_gradient.keys
        if not whole:
            tensors = (*inputs, out, log_sums, deltas, qkv_grad)
            _launch(query_gradient_kernel, tiling, tiling.queries, tensors, ctx.sizes, ctx.dropout_p)
        tensors, tiling = (*inputs, log_sums, deltas, qkv_grad), ctx.tilings.key_value_gradient
        _launch(key_value_gradient_kernel, tiling, tiling.keys, tensors, ctx.sizes, ctx.dropout_p, WHOLE=whole)
        return qkv_grad, None, None, None, None


def attend(qkv: Tensor, cu_seqlens: Tensor, max_seqlen: int, dropout_p: float, shapes: Tilings | None = None) -> Tensor:
    """See `pipeline.kernels.plain_attention.attend`; the seed is drawn from the default generator of the device.

    Args:
        qkv: (T, 3, N, D) in bf16, fp16 or fp32, D at most 128.
        cu_seqlens: (B + 1,) int32, on the same device.
        max_seqlen: a bound on the length of the sequences. Programs for tokens up to it are started for each of them.
        dropout_p: probability of dropping an attention probability, rounded to a multiple of 1/65536.
        shapes: tiles for a comparison of times; by default those of `tilings`.

    Raises:
        ValueError: the tensors are in bf16 on a CPU.
    """
    if qkv.device.type == "cpu" and qkv.dtype == torch.bfloat16:
        raise ValueError("Triton's interpreter multiplies the bits of bf16 as integers; use fp16 or fp32 on a CPU")
    shapes = shapes or tilings(qkv.shape[-1], qkv.dtype)
    out: Tensor = _Attention.apply(qkv, cu_seqlens, max_seqlen, dropout_p, shapes)
    return out
