"""Initialisation by position for encoders without embeddings of absolute positions.

Heads of the first layers begin on the same offsets as those of `initialization.py`, on what these encoders have:

* Disentangled attention adds q_i . P^k_r to a score, P^k_r being the key of the relative embedding of the distance r.
  Relative embeddings begin as the sinusoids of their distances, keys as the identity on these features, and the bias of
  the queries as the sinusoids of the head's offset. Every query then has the same part, whose product with the key of a
  relative embedding is largest at the offset.
* Rotary attention rotates queries and keys by their positions, so that a query and a key that are the same for all
  words have a score that depends on the distance alone. Without biases they need a feature that is the same for all
  words: two features of the word embeddings begin at a and at -a. Tied logits do not depend on these features, because
  they add the same number to all logits of a token. Queries begin as a vector u on them, and keys as u rotated by the
  offset. The score is L times a mean of cos(w_k (j - i - d)) over the frequencies w_k of the rotary positions, with
  weights in proportion to sqrt(w_k). As there are many low frequencies and none above one radian per token, equal
  weights would make a flat peak, and weights on the highest ones would repeat it, every 2 pi tokens for the first one.
  With these weights the score is at least L / 10 lower at all other distances below 512.

Shapes: R relative embeddings, H hidden_size, N attention heads, D = H / N, n frequencies.
"""

import math

import torch
from torch import Tensor

from pipeline.kernels.disentangled import PRODUCTS
from pipeline.kernels.rotary import frequencies as rotary_frequencies
from pipeline.model.disentangled import DisentangledEncoder
from pipeline.model.encoder import Layer
from pipeline.model.initialization import (
    SCORE,
    SHRINK,
    first_offsets,
    position_frequencies,
    shrink_later_outputs,
    sinusoids,
)
from pipeline.model.rotary import RotaryEncoder, RotaryLayer

ROTARY_SCORE = 20.0
"""L, the score of the token at the offset of a head with rotary positions. The tokens beside it have 0.87 L for D = 64,
so that a smaller score would leave them too much of the attention."""
COMMON = 4.0
"""a, the value of the features that all words share, in standard deviations of the others."""


@torch.no_grad()
def initialize_relative_positions(encoder: DisentangledEncoder) -> None:
    """Sets relative embeddings to sinusoids and the first layers' heads to offsets, without random numbers.

    Args:
        encoder: an encoder with normally distributed weights, changed in place.
    """
    table = encoder.relative.weight  # (R, H)
    layers = [layer for layer in encoder.layers if isinstance(layer, Layer)]
    width = table.shape[1] // layers[0].heads
    frequencies = position_frequencies(width // 2)
    rows = torch.arange(len(table), dtype=torch.float64) - encoder.buckets.number  # distances i - j
    scale = table.square().mean().sqrt()
    table.copy_(sinusoids(-rows, table.shape[1], frequencies)).mul_(scale)
    # The energy of a normalised embedding is H, that of a pair of features H / n.
    strength = math.sqrt(SCORE * math.sqrt(PRODUCTS * width) / math.sqrt(table.shape[1] * len(frequencies)))
    for number, layer in enumerate(layers):
        query, key, _ = layer.qkv.weight.unflatten(0, (3, layer.heads, -1)).unbind()  # (N, D, H) each
        bias = layer.qkv.bias.unflatten(0, (3, layer.heads, -1))[0]  # (N, D)
        for head, offset in enumerate(first_offsets(number, layer.heads)):
            query[head].mul_(SHRINK)
            key[head].mul_(SHRINK).diagonal()[: 2 * len(frequencies)] += strength
            angles = offset * frequencies
            bias[head, : 2 * len(frequencies)] = strength * torch.stack([angles.cos(), angles.sin()], -1).flatten()
    shrink_later_outputs([(layer.attention_output.weight, layer.output.weight) for layer in layers])


@torch.no_grad()
def initialize_rotary_positions(encoder: RotaryEncoder) -> None:
    """Sets two features of the word embeddings to constants and the first layers' heads to offsets, without random
    numbers. The published initial weights of these encoders already add less to the residual stream in deep models.

    Args:
        encoder: an encoder with normally distributed weights, changed in place.
    """
    words = encoder.embeddings.word.weight  # (V, H)
    hidden = words.shape[1]
    common = COMMON * words.square().mean().sqrt()
    words[:, 0], words[:, 1] = common, -common
    normalised = COMMON / math.sqrt(1 + 2 * (COMMON**2 - 1) / hidden)
    for number, layer in enumerate(encoder.layers):
        assert isinstance(layer, RotaryLayer), "a layer of this encoder"
        query, key, _ = layer.qkv.weight.unflatten(0, (3, layer.heads, -1)).unbind()  # (N, D, H) each
        theta = encoder.thetas[layer.is_local]
        for head, offset in enumerate(first_offsets(number, layer.heads)):
            for weight, vector in zip(
                (query[head], key[head]), rotary_offset(encoder.head_dim, theta, offset), strict=True
            ):
                weight.mul_(SHRINK)
                weight[:, 0] += vector / (2 * normalised)
                weight[:, 1] -= vector / (2 * normalised)


def rotary_offset(head_dim: int, theta: float, offset: int) -> tuple[Tensor, Tensor]:
    """Returns a query and a key, (D,) each, whose rotated product is largest for a key `offset` tokens after the query.

    Args:
        head_dim: D.
        theta: base of the frequencies of the rotary positions.
        offset: number of tokens, negative for tokens before.
    """
    frequencies = rotary_frequencies(head_dim, theta)  # (D / 2,), the highest one first
    weights = frequencies.sqrt() / frequencies.sqrt().sum()
    lengths = (ROTARY_SCORE * math.sqrt(head_dim) * weights).sqrt()
    angles = offset * frequencies
    query = torch.cat((lengths, torch.zeros_like(lengths)))
    return query, torch.cat((lengths * angles.cos(), -lengths * angles.sin()))
