"""Attention over concatenated sequences in Triton: reads packed queries, keys and values, writes packed gradients.

Every element of the gradient is summed by one program in a fixed order, so that the same input gives the same bits on
every run. Sequences of at most 128 tokens, such as those of phase 1, take one pass for that: a program has all keys of
a sequence and head, thus all terms of each query's gradient. Longer ones take two passes, in which programs own queries
and then keys. These compute scores and masks twice, which atomic additions would avoid in exchange for an arbitrary
order.

A launch depends on shapes and `max_seqlen` only and reads nothing back from the device, so that a CUDA graph can
capture it.

Shapes: T tokens, B sequences, P pairs of tokens of one sequence, N heads, D head_dim.
"""

from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from pipeline.kernels.dropout import draw_seed
from pipeline.kernels.plain_attention import cumulative_pairs, lowest_kept
from pipeline.kernels.triton.attention_kernels import forward_kernel, key_value_gradient_kernel, query_gradient_kernel


class Tiling(NamedTuple):
    """The tiles of a kernel, and how it is launched."""

    queries: int
    keys: int
    warps: int
    stages: int
    """Tiles of a loop that are in shared memory, or being copied there, at a time."""
    registers: int | None = None
    """Most registers of a thread; None: as many as ptxas takes."""


class Tilings(NamedTuple):
    """The tiles of the three kernels."""

    forward: Tiling
    query_gradient: Tiling
    key_value_gradient: Tiling


def tilings(head_dim: int, dtype: torch.dtype) -> Tilings:
    """The tiles for a head size and type, the same on every GPU and on every run, so that results are.

    They follow from the registers that ptxas reports for sm_80 and sm_90, with dropout; no GPU has timed them yet. 64
    queries, keys and features take 128 to 182 registers of 128 threads, so that two to four programs share a
    multiprocessor, where 128 queries take all 255. The last kernel holds two sums. Its 128 keys make the sequences of
    phase 1 a single pass; with more than 32 queries at a time it spills registers on sm_80, and so it does with 128
    keys of 128 features. Shared memory stays below 99 KiB in the code of sm_80, which runs on GPUs that have no more.
    Exact products of fp32 run on the ordinary units, which hold their operands in registers too, and need small tiles.
    """
    if dtype == torch.float32:
        return Tilings(Tiling(32, 32, 4, 1), Tiling(32, 32, 4, 1), Tiling(32, 32, 4, 1))
    if head_dim <= 64:
        return Tilings(Tiling(64, 64, 4, 2), Tiling(64, 64, 4, 2), Tiling(32, 128, 8, 2))
    return Tilings(Tiling(64, 64, 4, 2), Tiling(64, 64, 8, 2), Tiling(64, 64, 8, 2))


class _Call(NamedTuple):
    """Arguments that all launches of one call of `attend` have in common."""

    sequences: int
    longest: int
    tokens: int
    heads: int
    head_dim: int
    scale: float
    dropout_p: float
    pairs: int | None
    """Pairs of the term that is added to the scores; None: there is no term."""
    window: int | None
    """Tokens on either side that a token attends to; None: all."""

    def launch(self, kernel: Any, tiling: Tiling, rows: int, tensors: tuple[Tensor, ...], **constants: Any) -> None:
        """Start a program for every sequence, head, and `rows` tokens of the longest sequence."""
        blocks = triton.cdiv(self.longest, rows)
        programs = self.sequences * self.heads * blocks
        if not programs:
            return
        tf32 = torch.get_float32_matmul_precision() != "highest"
        kernel[(programs,)](
            *tensors, self.heads, self.tokens, self.pairs or 0, blocks, self.scale, *lowest_kept(self.dropout_p),
            DROP=self.dropout_p > 0.0, TERM=self.pairs is not None, D=self.head_dim,
            WINDOW=-1 if self.window is None else self.window,
            WIDTH=max(16, triton.next_power_of_2(self.head_dim)), PRECISION="tf32" if tf32 else "ieee",
            QUERIES=tiling.queries, KEYS=tiling.keys, num_warps=tiling.warps, num_stages=tiling.stages,
            maxnreg=tiling.registers, **constants,
        )  # fmt: skip


class _Attention(torch.autograd.Function):
    """Saves its inputs and output, which the products around it save anyway, and a number per query and head."""

    @staticmethod
    def forward(
        ctx: Any,
        qkv: Tensor,
        cu_seqlens: Tensor,
        term: Tensor | None,
        seed: Tensor | None,
        call: _Call,
        shapes: Tilings,
    ) -> Tensor:
        qkv = qkv.contiguous()
        seed = draw_seed(call.dropout_p, qkv.device) if seed is None else seed
        cu_pairs = seed if term is None else cumulative_pairs(cu_seqlens)
        out = torch.empty_like(qkv[:, 0], memory_format=torch.contiguous_format)
        log_sums = torch.empty(call.heads, call.tokens, dtype=torch.float32, device=qkv.device)
        inputs = (qkv, cu_seqlens, seed, qkv if term is None else term.contiguous(), cu_pairs)
        call.launch(forward_kernel, shapes.forward, shapes.forward.queries, (*inputs, out, log_sums))
        ctx.call, ctx.tilings = call, shapes
        ctx.save_for_backward(*inputs, out, log_sums)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, out, log_sums = ctx.saved_tensors
        qkv_grad, deltas = torch.empty_like(inputs[0]), torch.empty_like(log_sums)
        term_grad = qkv_grad if ctx.call.pairs is None else torch.empty_like(inputs[3])
        read, written = (grad.contiguous(), *inputs), (deltas, qkv_grad, term_grad)
        first, second = ctx.tilings.query_gradient, ctx.tilings.key_value_gradient
        whole = ctx.call.longest <= second.keys
        if not whole:
            ctx.call.launch(query_gradient_kernel, first, first.queries, (*read, out, log_sums, *written))
        ctx.call.launch(key_value_gradient_kernel, second, second.keys, (*read, log_sums, *written), WHOLE=whole)
        return qkv_grad, None, None if ctx.call.pairs is None else term_grad, None, None, None


def attend(
    qkv: Tensor,
    cu_seqlens: Tensor,
    max_seqlen: int,
    dropout_p: float,
    term: Tensor | None = None,
    scale: float | None = None,
    shapes: Tilings | None = None,
    seed: Tensor | None = None,
    window: int | None = None,
) -> Tensor:
    """See `pipeline.kernels.plain_attention.attend`.

    Args:
        qkv: (T, 3, N, D) in bf16, fp16 or fp32, D at most 128.
        cu_seqlens: (B + 1,) int32, on the same device.
        max_seqlen: a bound on the length of the sequences. Programs for tokens up to it are started for each of them.
        dropout_p: probability of dropping an attention probability, rounded to a multiple of 1/65536.
        term: (N, P), added to the scores, differentiable.
        scale: of the products of queries and keys; by default 1 / sqrt(D).
        shapes: tiles for a comparison of times; by default those of `tilings`.
        seed: () int64 on the device; None: drawn from the default generator of the device.
        window: number of tokens on either side that a token attends to; None: all. There must be no
            term with it.

    Raises:
        ValueError: the tensors are in bf16 on a CPU.
    """
    if qkv.device.type == "cpu" and qkv.dtype == torch.bfloat16:
        raise ValueError("Triton's interpreter multiplies the bits of bf16 as integers; use fp16 or fp32 on a CPU")
    assert window is None or term is None, "the gradient of the term is not written for pairs beyond the window"
    num_tokens, _, heads, head_dim = qkv.shape
    call = _Call(
        len(cu_seqlens) - 1, max_seqlen, num_tokens, heads, head_dim, scale or head_dim**-0.5, dropout_p,
        None if term is None else term.shape[1], window,
    )  # fmt: skip
    out: Tensor = _Attention.apply(qkv, cu_seqlens, term, seed, call, shapes or tilings(head_dim, qkv.dtype))
    return out
