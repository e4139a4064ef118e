"""Attention over concatenated sequences in plain torch, with dropout masks that are a function of a seed.

It documents the Triton kernels of `pipeline.kernels.triton.attention`, which compute the same with the same masks, and
is what they are tested against. It takes one sequence at a time and holds all its probabilities: slow, on any device.

In a head of a sequence of L tokens let Q, K, V (L, D) be queries, keys and values, Z (L, L) the mask of zeros and ones,
p the probability of being dropped, B (L, L) an optional term, and a * b the product of elements. The output is

    S = Q K^T / sqrt(D) + B    P = softmax(S)        O = (Z * P) V / (1 - p)

where with a window w S is minus infinity for pairs i, j of tokens with |i - j| > w,

and with the gradient dO of the output the gradients are

    dV = (Z * P)^T dO / (1 - p)            dP = Z * (dO V^T) / (1 - p)
    dS = P * (dP - delta)                  delta_i = sum_j P_ij dP_ij = sum_d O_id dO_id
    dQ = dS K / sqrt(D)                    dK = dS^T Q / sqrt(D)                    dB = dS

Source: Vaswani et al. 2017, equation 1; for delta, Dao et al. 2022, "FlashAttention", appendix B.2.

Shapes: T tokens, B sequences, N heads, D head_dim, L tokens of one sequence,
P pairs of tokens of one sequence, the sum of all L * L.
"""

from itertools import pairwise

import torch
from torch import Tensor

from pipeline.kernels.dropout import sixteen_bits
from pipeline.kernels.padded_attention import near

ROUNDS = 7
"""Rounds of Philox-4x32: the fewest with which it passes all tests of BigCrush (Salmon et al. 2011, table 2)."""
_LOW = (1 << 32) - 1


def attend(
    qkv: Tensor,
    cu_seqlens: Tensor,
    dropout_p: float,
    seed: Tensor,
    term: Tensor | None = None,
    scale: float | None = None,
    window: int | None = None,
) -> Tensor:
    """Attention (T, N, D) within each sequence, differentiable.

    Relative positions need a term of the scores. The smallest interface that serves is a number per head, query and
    key. In DeBERTa (He et al. 2021, equation 4) the term depends on the content of the query and the distance, and on
    the content of the key and the distance, which a table by head and distance cannot express. Where distances share a
    bucket, the gradient of the bucket is a sum over pairs, which torch's operations on the gradient of the term
    compute. The term takes as much memory as heads times pairs: at 128 tokens and 64 features per head, twice the
    hidden states.

    Args:
        qkv: (T, 3, N, D) queries, keys and values.
        cu_seqlens: (B + 1,) int32 bounds of the sequences.
        dropout_p: probability of dropping an attention probability, rounded to a multiple of 1/65536.
        seed: () int64, which decides the masks.
        term: (N, P), added to the scores: the (L, L) matrices of queries and keys of each sequence, one after another.
        scale: of the products of queries and keys; by default 1 / sqrt(D).
        window: number of tokens on either side that a token attends to; None: all.
    """
    threshold, kept_scale = lowest_kept(dropout_p)
    bounds, pairs, outputs = cu_seqlens.tolist(), 0, []
    for number, (start, end) in enumerate(pairwise(bounds)):
        query, key, value = qkv[start:end].permute(1, 2, 0, 3)  # (N, L, D)
        scores = query @ key.transpose(1, 2) * (scale or query.shape[-1] ** -0.5)  # (N, L, L)
        if term is not None:
            scores = scores + term[:, pairs : pairs + scores[0].numel()].view_as(scores)
            pairs += scores[0].numel()
        if window is not None:
            places = torch.arange(end - start, device=qkv.device)
            scores = scores.masked_fill(~near(places, places, window), float("-inf"))
        weights = scores.softmax(-1)
        if dropout_p:
            weights = weights * kept(seed, number, len(weights), end - start, threshold)
        outputs.append((weights @ value * kept_scale).transpose(0, 1))
    return torch.cat(outputs)


def cumulative_pairs(cu_seqlens: Tensor) -> Tensor:
    """(B + 1,) int64 bounds of the pairs of each sequence, computed on the device of `cu_seqlens` (B + 1,)."""
    return torch.nn.functional.pad(cu_seqlens.diff().long().square().cumsum(0), (1, 0))


def lowest_kept(probability: float) -> tuple[int, float]:
    """The lowest random word that keeps a probability, as a signed 32-bit integer, and the scale of what is kept."""
    dropped, scale = sixteen_bits(probability)
    return (dropped << 16) - (1 << 31), scale


def kept(seed: Tensor, sequence: int, heads: int, length: int, threshold: int) -> Tensor:
    """The mask (N, L, L) of probabilities that are kept, by head, query and key of one sequence.

    Philox-4x32 is keyed by the seed. Its counter is (key's group, query's group, head, sequence), where token x of a
    sequence is in group 8 (x // 16) + x mod 8, together with the token 8 before or behind it. One call decides for two
    queries and two keys with 32 bits each: word 2 i + j is that of half i = (x // 8) mod 2 of the queries and half j of
    the keys. A mask thus depends on no division into tiles.

    Args:
        seed: () int64.
        sequence: number of the sequence in the micro-batch.
        heads: N.
        length: L.
        threshold: the lowest word, signed, that keeps a probability.
    """
    tokens = torch.arange(length, device=seed.device)
    group, half = tokens // 16 * 8 + tokens % 8, tokens // 8 % 2  # (L,)
    head = torch.arange(heads, device=seed.device)[:, None, None]
    counter = torch.broadcast_tensors(group, group[:, None], head, torch.full_like(head, sequence))  # (N, L, L) each
    words = torch.stack(philox(seed, *counter))  # (4, N, L, L)
    which = (2 * half[:, None] + half).expand(1, heads, length, length)
    return words.gather(0, which)[0].to(torch.int32) >= threshold


def philox(
    seed: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, rounds: int = ROUNDS
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Four random words, integers in [0, 2^32), for a 64-bit seed () and a counter of four words of any equal shape.

    Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3.
    """
    one, two = seed & _LOW, seed >> 32 & _LOW
    for _ in range(rounds):
        left, right = a * 0xD2511F53, c * 0xCD9E8D57  # 64-bit products; the sign bit is their highest
        a, b, c, d = (right >> 32 & _LOW) ^ b ^ one, right & _LOW, (left >> 32 & _LOW) ^ d ^ two, left & _LOW
        one, two = one + 0x9E3779B9 & _LOW, two + 0xBB67AE85 & _LOW
    return a, b, c, d
