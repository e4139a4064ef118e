"""Disentangled self-attention over concatenated sequences: scores from contents and from relative positions.

Let q_i, k_j, v_j be query, key and value of tokens i and j of a sequence, b(i - j) the bucket of their distance, and
P^q_b, P^k_b a query and a key of bucket b. The score of key j for query i is

    (q_i . k_j + q_i . P^k_b(i-j) + k_j . P^q_b(i-j)) / sqrt(3 D)

Source: He et al. 2021, DeBERTa (https://arxiv.org/abs/2006.03654), equation 4, whose third distance is j - i there: the
released code and `transformers` look up the bucket of i - j, and so does this module. Buckets are those of version 2
(microsoft/DeBERTa, da_utils.py, make_log_bucket_position).

The last two products form a term of the scores. They are computed for all distances that a sequence has, (W, 2 W)
numbers per head, where row i holds the scores of query i by distance; the element of key j is then W - 1 - i + j, so
that a shift by one element from row to row aligns the keys. A shift is a view of the memory. There is no gathering by
bucket, so that no backward pass adds in an arbitrary order: distances of one bucket are added up by the backward pass
of an embedding.

The term takes N W W numbers for each sequence, which the attention keeps for its backward pass, and twice as many while
it is computed. On CUDA, Triton's attention adds it to its scores; the sequences are padded to the longest one there.

Shapes: T tokens, B sequences, N heads, D head_dim, R buckets, W width of a bucket of sequences (its longest sequence),
C sequences in a bucket.
"""

from functools import partial
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.kernels import backends, plain_attention
from pipeline.kernels.attention import backend
from pipeline.kernels.config import AttentionBackend, KernelBackend
from pipeline.kernels.dropout import draw_seed
from pipeline.kernels.padded_attention import attend_padded, bucketed_layout, padded_layout
from pipeline.kernels.rows import embedding

PRODUCTS = 3
"""Products that a score is the sum of; the scale is 1 / sqrt(PRODUCTS * D)."""


class Buckets(NamedTuple):
    """The mapping of distances to rows of a table of relative positions, which has 2 * `number` rows."""

    number: int
    """Buckets of one sign."""
    longest: int
    """Distance to which the last bucket reaches, in tokens."""

    def of(self, distances: Tensor) -> Tensor:
        """Return the signed buckets of signed distances, integers of any equal shape.

        Up to half of the number every distance has a bucket of its own; beyond it the widths grow geometrically.
        """
        half = self.number // 2
        sizes = distances.abs()
        steps = (sizes.clamp(min=half) / half).log() / torch.tensor((self.longest - 1) / half).log() * (half - 1)
        return torch.where(sizes <= half, distances, (steps.ceil() + half).long() * distances.sign())

    def rows(self, longest: int, device: torch.device) -> Tensor:
        """Return the rows of the table, in [0, 2 * number), of the distances -M to M, (2 M + 1,) int64.

        Args:
            longest: M, at least the number of tokens of the longest sequence.
            device: device of the result.
        """
        distances = torch.arange(-longest, longest + 1, device=device)
        return (self.of(distances) + self.number).clamp(0, 2 * self.number - 1)


def attention(
    qkv: Tensor,
    table: Tensor,
    rows: Tensor,
    cu_seqlens: Tensor,
    max_seqlen: int,
    dropout_p: float = 0.0,
    wanted: AttentionBackend = "auto",
    kernels: KernelBackend = "auto",
    seed: Tensor | None = None,
) -> Tensor:
    """Disentangled attention (T, N, D) of every token to all tokens of its own sequence.

    Args:
        qkv: (T, 3, N, D) queries, keys and values.
        table: (R, 3, N, D) queries, keys and (unused) values of the relative positions.
        rows: (2 M + 1,) rows of the table for the distances -M to M, as `Buckets.rows` returns them.
        cu_seqlens: (B + 1,) int32, bounds of the sequences.
        max_seqlen: tokens of the longest sequence.
        dropout_p: probability of dropping an attention probability; pass 0 outside training.
        wanted: `model.attention` of the recipe: auto, triton, padded or plain.
        kernels: `model.kernels` of the recipe.
        seed: () int64 on the device, of the masks of `triton` and `plain`; None: drawn.

    Raises:
        ValueError: the wanted backend cannot compute this here.
    """
    device = qkv.device
    chosen = backend(device, qkv.dtype, dropout_p, wanted, kernels, qkv.shape[-1])
    term, scale = partial(score_term, table=table, rows=rows), (PRODUCTS * qkv.shape[-1]) ** -0.5
    if chosen == "triton":
        return _fused(qkv, table, rows, cu_seqlens, max_seqlen, dropout_p, seed)
    if chosen == "plain":
        seed = draw_seed(dropout_p, device) if seed is None else seed
        parts = [qkv[start:end].permute(1, 2, 0, 3)[:, None] for start, end in pairwise(cu_seqlens.tolist())]
        terms = torch.cat([term(part[0], part[1]).flatten(2)[0] for part in parts], 1)  # (N, P)
        return plain_attention.attend(qkv, cu_seqlens, dropout_p, seed, terms, scale)
    if chosen == "bucketed":
        return attend_padded(qkv, bucketed_layout(tuple(cu_seqlens.tolist())), dropout_p, term, scale)
    # FlashAttention, which is `auto` in 16-bit types without Triton, has no term of the scores.
    return attend_padded(qkv, padded_layout(cu_seqlens, max_seqlen, len(qkv)), dropout_p, term, scale)


def score_term(query: Tensor, key: Tensor, table: Tensor, rows: Tensor) -> Tensor:
    """Return the scores (C, N, W, W) of queries and keys (C, N, W, D) with relative positions, scaled.

    Args:
        query, key: (C, N, W, D).
        table, rows: as in `attention`.
    """
    width, middle, shape = query.shape[2], len(rows) // 2, table.shape[2:]
    falling = rows[middle - width : middle + width].flip(0)  # distances W - 1, ..., -W
    rising = rows[middle + 1 - width : middle + 1 + width]  # distances 1 - W, ..., W
    keys = embedding(falling, table[:, 1].flatten(1)).unflatten(1, shape)  # (2 W, N, D)
    queries = embedding(rising, table[:, 0].flatten(1)).unflatten(1, shape)
    by_key = _shifted(torch.einsum("cnid,mnd->cnim", query, keys))  # (C, N, W, W), row i
    by_query = _shifted(torch.einsum("cnjd,mnd->cnjm", key, queries))  # row j
    return (by_key + by_query.transpose(-1, -2)) * (PRODUCTS * shape[-1]) ** -0.5


def _shifted(scores: Tensor) -> Tensor:
    """Return elements W - 1 - i to 2 W - 2 - i of each row i: (..., W, 2 W) -> (..., W, W), without a copy."""
    width = scores.shape[-2]
    flat = scores.flatten(-2)[..., width - 1 : width - 1 + width * (2 * width - 1)]
    return flat.unflatten(-1, (width, 2 * width - 1))[..., :width]


def _fused(
    qkv: Tensor,
    table: Tensor,
    rows: Tensor,
    cu_seqlens: Tensor,
    max_seqlen: int,
    dropout_p: float,
    seed: Tensor | None,
) -> Tensor:
    """Attention by the Triton kernels, on sequences that are padded to the longest one; see `attention`.

    The kernels see the padding as tokens of the sequences. The term is minus infinity for its keys, and the outputs of
    its queries are left out.
    """
    own = backends.triton_kernels("attention", "triton", qkv.device.type, "model.attention")
    assert own is not None, "the backend triton is an error where there is no Triton"
    layout = padded_layout(cu_seqlens, max_seqlen, len(qkv))
    assert layout.gather is not None and layout.scatter is not None, "a padded layout has both maps"
    slots, real = qkv.index_select(0, layout.gather), layout.buckets[0].real  # (B * W, 3, N, D), (B, W)
    query, key, _ = slots.unflatten(0, real.shape).permute(2, 0, 3, 1, 4)  # (B, N, W, D)
    term = score_term(query, key, table, rows).masked_fill(~real[:, None, None, :], float("-inf"))
    bounds = torch.arange(0, len(slots) + 1, max_seqlen, dtype=torch.int32, device=qkv.device)
    pairs = term.transpose(0, 1).flatten(1)  # (N, B * W * W)
    scale = (PRODUCTS * qkv.shape[-1]) ** -0.5
    context: Tensor = own.attend(slots, bounds, max_seqlen, dropout_p, pairs, scale, seed=seed)
    return context.index_select(0, layout.scatter)
