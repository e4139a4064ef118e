"""Self-attention over concatenated sequences, without padding.

A micro-batch is one tensor of T tokens and `cu_seqlens`, the offsets at which its B sequences begin and end. All
operations but attention work on tokens and need no padding; attention must keep the sequences apart. These backends
compute the same function:

- `triton`: this project's kernels (`pipeline.kernels.triton.attention`), with dropout on the attention probabilities.
  They read and write the packed tensors, and repeat a run bit for bit.
- `varlen`: `torch.nn.attention.varlen.varlen_attn`, FlashAttention over `cu_seqlens`. CUDA and 16-bit types only, and
  it has no dropout on the attention probabilities (torch 2.13 fixes it to 0).
- `flash_attn`: Dao's own package, which has it, for the same devices and types.
- `padded`: `scaled_dot_product_attention` on a padded copy with a key mask (`pipeline.kernels.padded_attention`). It
  copies without reading anything back from the device.
- `bucketed`: the same for the CPU, where sequences of similar length share one batched product.
- `plain`: one sequence at a time with the masks of `triton` (`pipeline.kernels.plain_attention`), for comparisons.

`model.attention` names one, or is `auto`. On a CPU that is `bucketed`. On CUDA it is `triton`. Where Triton is missing,
is turned off (`model.kernels = plain`), or has no kernels for the head size, it is `varlen` in 16-bit types without
dropout, and else `padded`. With a dropout probability of 0 all backends agree up to rounding. The backward passes of
`varlen` and `flash_attn` add in an arbitrary order in sequences of more than 128 tokens, unless torch is set to use
deterministic algorithms, so that a resumed run would differ from the undisturbed one in its last bits.

All backends also compute local attention: with a window w, token i attends to the tokens j of its sequence with
|i - j| <= w. All but `plain` skip the products of most other pairs, and hold no scores of them in memory.

Shapes: T tokens, B sequences, N heads, D head_dim.
"""

import importlib.util

import torch
from torch import Tensor

from pipeline.kernels import backends, plain_attention
from pipeline.kernels.config import AttentionBackend, KernelBackend
from pipeline.kernels.dropout import draw_seed
from pipeline.kernels.padded_attention import attend_padded, bucketed_layout, padded_layout

HALVES = (torch.float16, torch.bfloat16)
LARGEST_HEAD = 128
"""Largest head size of the Triton kernels: of a larger one, tiles do not fit into registers."""


def backend(
    device: torch.device,
    dtype: torch.dtype,
    dropout_p: float,
    wanted: AttentionBackend = "auto",
    kernels: KernelBackend = "auto",
    head_dim: int = 64,
) -> str:
    """The name of the implementation that `attention` uses.

    Args:
        device: device of the tensors.
        dtype: type in which attention is computed (under autocast, that of autocast).
        dropout_p: probability of dropping an attention probability; pass 0 outside training.
        wanted: `model.attention` of the recipe.
        kernels: `model.kernels` of the recipe, which `auto` respects.
        head_dim: features of a head.

    Raises:
        ValueError: the wanted backend cannot compute this here.
    """
    if wanted != "auto":
        _check(wanted, device, dtype, dropout_p, head_dim)
        return wanted
    if device.type == "cpu":
        return "bucketed"
    if head_dim <= LARGEST_HEAD and backends.triton_kernels("attention", kernels, device.type) is not None:
        return "triton"
    return "varlen" if device.type == "cuda" and dtype in HALVES and dropout_p == 0.0 else "padded"


def _check(wanted: AttentionBackend, device: torch.device, dtype: torch.dtype, dropout_p: float, head_dim: int) -> None:
    """Raise ValueError if the backend cannot compute this on this machine; for the arguments see `backend`."""
    if wanted == "triton" and head_dim > LARGEST_HEAD:
        raise ValueError(
            f"model.attention = triton: head sizes must be at most {LARGEST_HEAD}, this model's is {head_dim}; use auto"
        )
    if wanted in ("varlen", "flash_attn") and (device.type != "cuda" or dtype not in HALVES):
        raise ValueError(
            f"model.attention = {wanted}: must be computed in fp16 or bf16 on cuda, not in {dtype} on {device.type}; "
            "use auto"
        )
    if wanted == "varlen" and dropout_p > 0.0:
        raise ValueError(
            "model.attention = varlen: has no dropout on probabilities; set model.attention_probs_dropout_prob = "
            f"{dropout_p} to 0, or use auto"
        )
    if wanted == "flash_attn" and importlib.util.find_spec("flash_attn") is None:
        raise ValueError(
            "model.attention = flash_attn: the package flash-attn must be installed; install it, or use auto"
        )


def attention(
    qkv: Tensor,
    cu_seqlens: Tensor,
    max_seqlen: int,
    dropout_p: float = 0.0,
    wanted: AttentionBackend = "auto",
    kernels: KernelBackend = "auto",
    seed: Tensor | None = None,
    window: int | None = None,
) -> Tensor:
    """softmax(Q K^T / sqrt(D)) V within each sequence: every token attends to all tokens of its own sequence, or to
    those of them that are near.

    Args:
        qkv: (T, 3, N, D) queries, keys and values.
        cu_seqlens: (B + 1,) int32, ascending from 0 to T; sequence i has the tokens cu_seqlens[i] to cu_seqlens[i + 1].
        max_seqlen: length of the longest sequence, in tokens.
        dropout_p: probability of dropping an attention probability; pass 0 outside training.
        wanted: `model.attention` of the recipe.
        kernels: `model.kernels` of the recipe, which `auto` respects.
        seed: () int64 on the device, of the masks of the backends `triton` and `plain`; None: drawn from the default
            generator of the device. The other backends draw their masks from the generator.
        window: number of tokens before it, and of tokens behind it, that a token attends to; None: all.

    Returns:
        (T, N, D).

    Raises:
        ValueError: the wanted backend cannot compute this here.

    Source: Vaswani et al. 2017, equation 1. Dropout is applied to the probabilities, after the softmax, as in BERT.
    """
    chosen = backend(qkv.device, qkv.dtype, dropout_p, wanted, kernels, qkv.shape[-1])
    if chosen == "triton":
        own = backends.triton_kernels("attention", "triton", qkv.device.type, "model.attention")
        assert own is not None, "the backend triton is an error where there is no Triton"
        fused: Tensor = own.attend(qkv, cu_seqlens, max_seqlen, dropout_p, seed=seed, window=window)
        return fused
    if chosen == "varlen":
        return _varlen(qkv, cu_seqlens, max_seqlen, window)
    if chosen == "flash_attn":
        return _flash_attention(qkv, cu_seqlens, max_seqlen, dropout_p, window)
    if chosen == "plain":
        seed = draw_seed(dropout_p, qkv.device) if seed is None else seed
        return plain_attention.attend(qkv, cu_seqlens, dropout_p, seed, window=window)
    if chosen == "padded":
        return attend_padded(qkv, padded_layout(cu_seqlens, max_seqlen, len(qkv)), dropout_p, window=window)
    return attend_padded(qkv, bucketed_layout(tuple(cu_seqlens.tolist())), dropout_p, window=window)


def _varlen(qkv: Tensor, cu_seqlens: Tensor, max_seqlen: int, window: int | None) -> Tensor:
    """Attention (T, N, D) by torch's FlashAttention."""
    # Imported here because it loads torch's compiler, which takes four seconds and is never used on a CPU.
    from torch.nn.attention.varlen import varlen_attn

    query, key, value = qkv.unbind(1)
    context = varlen_attn(query, key, value, cu_seqlens, cu_seqlens, max_seqlen, max_seqlen, window_size=_sides(window))
    assert isinstance(context, Tensor), "varlen_attn returns a tuple only where auxiliary outputs are asked for"
    return context


def _flash_attention(qkv: Tensor, cu_seqlens: Tensor, max_seqlen: int, dropout_p: float, window: int | None) -> Tensor:
    """Attention (T, N, D) by flash-attn."""
    from flash_attn import flash_attn_varlen_qkvpacked_func

    deterministic = torch.are_deterministic_algorithms_enabled()
    out: Tensor = flash_attn_varlen_qkvpacked_func(
        qkv, cu_seqlens, max_seqlen, dropout_p=dropout_p, window_size=_sides(window), deterministic=deterministic
    )
    return out


def _sides(window: int | None) -> tuple[int, int]:
    """The tokens before and behind a token to which it attends, as FlashAttention takes them: -1 for all."""
    return (-1, -1) if window is None else (window, window)
