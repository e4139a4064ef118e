"""Self-attention over sequences that are padded to one width, by batched products on any device.

Sequences lie in buckets of one width each. On a GPU all of them are one bucket (`padded_layout`), which is made without
reading anything back from the device. On a CPU, where reading `cu_seqlens` costs nothing, sequences of similar length
share a bucket (`bucketed_layout`), so that there is little padding; where all sequences are equally long, nothing is
copied.

With a window, tokens attend to those near them (`near`): a bucket is divided into blocks, and the queries of a block
meet the keys of three blocks, so that memory and operations grow with the number of tokens and not with its square.

On the CPU separate operations (product, softmax, dropout, product) are faster than `scaled_dot_product_attention`.
Milliseconds on 2 cores for 4 heads of 64, forward and backward; separate operations, in brackets the fused one:

          64 sequences of 128             8 sequences of 512
          dropout 0    dropout 0.1        dropout 0    dropout 0.1
    bf16   13 (55)      19 (56)            17 (45)      31 (118)
    fp32   30 (38)      36 (54)            56 (53)      76 (122)

Shapes: T tokens, N heads, D head_dim, W width of a bucket (its longest sequence), C sequences in a bucket, G blocks in
a sequence, S tokens of a block, and of batches of products: P products, Q queries, K keys.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.kernels.dropout import keep_mask

Term = Callable[[Tensor, Tensor], Tensor]
"""Queries and keys (C, N, W, D) of a bucket -> a term (C, N, W, W) that is added to their scaled products."""
# Lengths that round up to the same multiple of this share a CPU bucket: at most 4 products at 128 tokens, 16 at 512.
BUCKET_WIDTH = 32
LEAST_BLOCK = 32
"""Fewest tokens of a block of local attention, since small products are slow. Sequences of at most three blocks are
computed whole."""


class Bucket(NamedTuple):
    """Sequences that are padded to one width and attended to in one call."""

    real: Tensor  # (C, W) bool, True for tokens, False for padding
    padded: bool  # whether there is any padding


class Layout(NamedTuple):
    """Indices that map tokens to slots of the padded copy and back; None where both maps are the identity."""

    buckets: list[Bucket]
    gather: Tensor | None  # (sum of C * W,) the token in each padded slot; padding repeats its sequence's tokens
    scatter: Tensor | None  # (T,) the padded slot of each token


def padded_layout(cu_seqlens: Tensor, width: int, num_tokens: int) -> Layout:
    """Layout with all sequences in one bucket, computed on the device of `cu_seqlens` without reading a value back.

    Args:
        cu_seqlens: (B + 1,) integers.
        width: length to pad to, in tokens; at least that of the longest sequence.
        num_tokens: T, the last of `cu_seqlens`.
    """
    gather, real = _pad(cu_seqlens[:-1], cu_seqlens.diff(), width)
    tokens = torch.arange(num_tokens, dtype=cu_seqlens.dtype, device=cu_seqlens.device)
    sequence = torch.searchsorted(cu_seqlens, tokens, right=True) - 1  # (T,)
    scatter = tokens + sequence * width - cu_seqlens[sequence]
    return Layout([Bucket(real, padded=True)], gather.flatten(), scatter)


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # autograd must be able to use cached indices that an evaluation has made
def bucketed_layout(cu_seqlens: tuple[int, ...]) -> Layout:
    """Layout with one bucket for sequences of similar length; cached, because all layers of a micro-batch use it.

    Args:
        cu_seqlens: B + 1 integers.
    """
    ends = torch.tensor(cu_seqlens)
    starts, lengths = ends[:-1], ends.diff()
    if (lengths == lengths[0]).all():
        return Layout([Bucket(torch.ones(len(lengths), int(lengths[0]), dtype=torch.bool), padded=False)], None, None)
    size_class = (lengths + BUCKET_WIDTH - 1) // BUCKET_WIDTH  # (B,)
    buckets, gathers, scatter, filled = [], [], torch.empty(cu_seqlens[-1], dtype=torch.long), 0
    for members in (torch.nonzero(size_class == wanted).flatten() for wanted in size_class.unique()):
        gather, real = _pad(starts[members], lengths[members], int(lengths[members].max()))
        scatter[gather[real]] = filled + torch.nonzero(real.flatten()).flatten()
        filled += gather.numel()
        gathers.append(gather.flatten())
        buckets.append(Bucket(real, padded=not bool(real.all())))
    return Layout(buckets, torch.cat(gathers), scatter)


def _pad(starts: Tensor, lengths: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The token of each slot (C, W), and whether it is real (C, W), for sequences of given starts and lengths (C,)."""
    position = torch.arange(width, dtype=starts.dtype, device=starts.device)  # (W,)
    # Padding repeats all tokens of its sequence: one alone would receive all of its zero gradients, one after another.
    return starts[:, None] + position % lengths[:, None], position < lengths[:, None]


def attend_padded(
    qkv: Tensor,
    layout: Layout,
    dropout_p: float,
    term: Term | None = None,
    scale: float | None = None,
    window: int | None = None,
) -> Tensor:
    """Attention (T, N, D), one bucket at a time; padded keys get probability 0, and padded queries are discarded.

    Args:
        qkv: (T, 3, N, D) queries, keys and values.
        layout: the buckets.
        dropout_p: probability of dropping an attention probability.
        term: computes a term of the scores (C, N, W, W) from queries and keys (C, N, W, D); None: there is none.
        scale: of the products of queries and keys; by default 1 / sqrt(D).
        window: number of tokens on either side that a token attends to, without a term; None: all.
    """
    num_tokens, _, heads, head_dim = qkv.shape
    slots = qkv.flatten(1)  # (T, 3 * N * D)
    if layout.gather is not None:
        slots = slots.index_select(0, layout.gather)  # (sum of C * W, 3 * N * D)
    contexts = []
    for bucket, rows in zip(layout.buckets, slots.split([b.real.numel() for b in layout.buckets]), strict=True):
        sequences = rows.view(*bucket.real.shape, 3, heads, head_dim)  # (C, W, 3, N, D)
        if window is not None:
            context = _attend_near(sequences, bucket.real if bucket.padded else None, dropout_p, scale, window)
        else:
            query, key, value = sequences.permute(2, 0, 3, 1, 4)  # (C, N, W, D)
            added = None if term is None else term(query, key)
            mask = bucket.real[:, None, None, :] if bucket.padded else None  # (C, 1, 1, W)
            context = _attend(query, key, value, mask, dropout_p, added, scale).transpose(1, 2)
        contexts.append(context.reshape(-1, heads * head_dim))  # (C * W, N * D)
    context = torch.cat(contexts) if len(contexts) > 1 else contexts[0]
    if layout.scatter is not None:
        context = context.index_select(0, layout.scatter)
    return context.view(num_tokens, heads, head_dim)


def near(queries: Tensor, keys: Tensor, window: int) -> Tensor:
    """Whether each query (Q,) attends to each key (K,), given their positions in a sequence: (Q, K) bool."""
    return (queries[:, None] - keys).abs() <= window


def _attend_near(sequences: Tensor, real: Tensor | None, dropout_p: float, scale: float | None, window: int) -> Tensor:
    """Attention (C, W, N, D) of tokens to those near them.

    Args:
        sequences: (C, W, 3, N, D).
        real: (C, W) bool, as in `Bucket`; None: there is no padding.
        dropout_p, scale, window: as in `attend_padded`.
    """
    count, width = sequences.shape[:2]
    real = sequences.new_ones(1, width, dtype=torch.bool) if real is None else real
    size = max(window, LEAST_BLOCK)
    if width > 3 * size:
        blocks = -(-width // size)
        missing = blocks * size - width
        sequences = functional.pad(sequences, (0, 0, 0, 0, 0, 0, 0, missing)).unflatten(1, (blocks, size))
        query = sequences[:, :, :, 0].flatten(0, 1)  # (C * G, S, N, D)
        key, value = _with_neighbours(sequences[:, :, :, 1:]).flatten(0, 1).unbind(2)  # (C * G, 3 S, N, D)
        real = _with_neighbours(functional.pad(real, (0, missing)).unflatten(1, (blocks, size)))
        real = real.expand(count, -1, -1).flatten(0, 1)  # (C * G, 3 S)
        first = size
    else:
        query, key, value = sequences.unbind(2)  # (C, W, N, D)
        first = 0
    places = torch.arange(key.shape[1], device=sequences.device)
    queries = places[first : first + query.shape[1]]
    # Padding attends to itself: a softmax over no key is not a number, as would be the gradients of all keys.
    own = queries[:, None] == places
    mask = (near(queries, places, window) & real[:, None, :] | own)[:, None]  # (P, 1, Q, K)
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))  # (P, N, Q, D) and (P, N, K, D)
    context = _attend(query, key, value, mask, dropout_p, None, scale).transpose(1, 2)
    return context.reshape(count, -1, *context.shape[2:])[:, :width]


def _with_neighbours(blocks: Tensor) -> Tensor:
    """Join each block (C, G, S, ...) with the one before and the one behind it, zeros at the ends: (C, G, 3 S, ...)."""
    ends = functional.pad(blocks, (0, 0) * (blocks.dim() - 2) + (1, 1))
    return torch.cat((ends[:, :-2], blocks, ends[:, 2:]), 2)


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    dropout_p: float,
    term: Tensor | None,
    scale: float | None,
) -> Tensor:
    """Attention (P, N, Q, D) of queries (P, N, Q, D) to keys (P, N, K, D), masked where the mask, which broadcasts to
    (P, N, Q, K), is False, and with a term (P, N, Q, K) of the scores.

    The module docstring explains why a CPU computes it differently.
    """
    if query.device.type != "cpu":
        if term is not None:
            mask = term if mask is None else term.masked_fill(~mask, float("-inf"))
        return functional.scaled_dot_product_attention(query, key, value, mask, dropout_p, scale=scale)
    scale = scale or query.shape[-1] ** -0.5
    if dropout_p > 0.0:
        out: Tensor = _DroppedAttention.apply(query, key, value, mask, dropout_p, term, scale)
        return out
    return _probabilities(query * scale, key, mask, term) @ value


def _probabilities(scaled_query: Tensor, key: Tensor, mask: Tensor | None, term: Tensor | None) -> Tensor:
    """Attention probabilities (P, N, Q, K): a softmax over the keys."""
    scores = scaled_query @ key.transpose(-1, -2)
    if term is not None:
        scores = scores + term
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(-1)


class _DroppedAttention(torch.autograd.Function):
    """Attention with dropout on a CPU; saves the probabilities and a one-byte mask for the backward pass.

    Separate operations save the probabilities, a mask of the same type, and their product: 12 bytes for each pair of
    slots in fp32, 5 here. The scale of the kept elements is applied to tensors of (C, N, W, D), which are smaller.
    """

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu")
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        dropout_p: float,
        term: Tensor | None,
        scale: float,
    ) -> Tensor:
        # Contiguous tensors save a copy in each product of both passes.
        query, key, value = (query * scale).contiguous(), key.contiguous(), value.contiguous()
        probabilities = _probabilities(query, key, mask, term)
        keep, ctx.scale = keep_mask(probabilities, dropout_p)
        ctx.query_scale, ctx.has_term = scale, term is not None
        ctx.save_for_backward(query, key, value, probabilities, keep)
        return (keep.to(probabilities.dtype).mul_(probabilities) @ value).mul_(ctx.scale)

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, probabilities, keep = ctx.saved_tensors
        grad, kept = grad * ctx.scale, keep.to(probabilities.dtype)
        value_grad = (kept * probabilities).transpose(-1, -2) @ grad
        error = (grad @ value.transpose(-1, -2)).to(kept.dtype).mul_(kept)  # (P, N, Q, K)
        error = torch.ops.aten._softmax_backward_data(error, probabilities, -1, probabilities.dtype)
        query_grad = (error @ key).mul_(ctx.query_scale)
        term_grad = error if ctx.has_term else None
        return query_grad, error.transpose(-1, -2) @ query, value_grad, None, None, term_grad, None
