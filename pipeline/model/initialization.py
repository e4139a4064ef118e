"""Initial weights: normally distributed, or with what a model would otherwise have to learn first.

A masked token can be predicted only from its neighbours, and attention must first learn where they are. Until it has,
the masked loss stays at what word counts and unordered context give. Initialisation by position removes this plateau:

* Position embeddings begin as sinusoids of n frequencies w_k in the first 2n features, with as much energy as a word.
* The first layers' heads begin with query = s I and key = s R(d) on these features, where R(d) rotates pair k by the
  angle d w_k. The score of query position i for key position j is then L mean_k cos(w_k (j - i - d)): it is L at
  j = i + d, and small elsewhere.
* The later layers of a deep model begin with small weights on the residual stream, so that what the first ones have
  found reaches the head almost unchanged.

Where a projection follows the embeddings, it begins by copying the features of the positions, so that the layers find
them where the heads expect them.

All other weights are normally distributed, and all weights are trained. The model is an ordinary one that every
converter can read. Related work: Trockman and Kolter 2023 (https://arxiv.org/abs/2305.09828) begin with query-key
products near the identity, which makes tokens attend to similar tokens.

Shapes: P positions, E width of the embeddings, H hidden_size, N attention heads, D = H / N, n frequencies.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.model.encoder import Encoder, Layer, Stack
from pipeline.model.prenorm import PreNormLayer

AbsoluteLayer = Layer | PreNormLayer
"""Layers of encoders with embeddings of absolute positions."""
LOWEST, HIGHEST = 0.05, 3.0
"""Range of the frequencies, in radians per token."""
SCORE = 8.0
"""L, the score of the token at a head's offset: for D = 64 it takes 95 % of the attention in a sample of 128 tokens."""
SHRINK = 0.1
"""Factor of the random weights of queries and keys that begin on an offset, and of segment embeddings, so that words
and segments do not disturb the scores."""
WITH_OFFSETS = 2
"""Number of layers with heads that begin on offsets."""
LATER = 2.0
"""Number of layers with weights of the usual size that add as much to the residual stream as all layers behind these
may add together."""
UNNORMALISED = 0.1
"""Factor of the weights on the residual stream where nothing normalises the embeddings. These are so small that the
first layer would otherwise hide the positions from the heads of the second one."""
NEAREST = (-1, 1, -2, 2, -3, 3, -4, 4)
"""Offsets in the order in which heads take them."""


def initialize_weights(module: nn.Module, std: float, cut: float = math.inf) -> None:
    """Draws the initial weights of a module, without its children; meant for `nn.Module.apply`.

    Linear and embedding weights come from a normal distribution, biases are 0, layer normalisation is the identity.
    Numbers come from torch's default generator, in module order, so that `torch.manual_seed` before the model is built
    determines every weight.

    Args:
        module: any module; those other than linear, embedding and layer normalisation are not changed.
        std: standard deviation before the cut (after a cut at two it is 0.88 times as large).
        cut: largest magnitude in standard deviations; google-research/bert cuts at 2, fairseq does not cut.

    Source: google-research/bert, `truncated_normal_initializer`.
    """
    if isinstance(module, nn.Linear | nn.Embedding):
        _cut_normal_(module.weight, std, cut)
    if isinstance(module, nn.LayerNorm):
        nn.init.ones_(module.weight)
    if isinstance(module, nn.Linear | nn.LayerNorm) and module.bias is not None:
        nn.init.zeros_(module.bias)


@torch.no_grad()
def _cut_normal_(tensor: Tensor, std: float, cut: float) -> None:
    """Fills with a normal distribution cut at `cut` standard deviations, through its inverse distribution function.

    This is nine times as fast as `nn.init.trunc_normal_`, which redraws all values until all fit: 2 s instead of 20 s
    for BERT-large.
    """
    if math.isinf(cut):
        tensor.normal_(0, std)
        return
    reach = math.erf(cut / math.sqrt(2))
    tensor.uniform_(-reach, reach).erfinv_().mul_(math.sqrt(2) * std).clamp_(-cut * std, cut * std)


@torch.no_grad()
def initialize_positions(encoder: Encoder, *others: Stack) -> None:
    """Sets position embeddings to sinusoids and the first layers' heads to offsets, without random numbers.

    Args:
        encoder: an encoder with normally distributed weights, changed in place.
        others: stacks on the same embeddings, changed in the same way.
    """
    embeddings = encoder.embeddings
    num_positions, width = embeddings.position.weight.shape
    layers = [layer for stack in (encoder, *others) for layer in stack.layers if isinstance(layer, AbsoluteLayer)]
    narrowest = min(layer.qkv.in_features // layer.heads for layer in layers)
    frequencies = position_frequencies(min(narrowest, width // 2) // 2)
    places = torch.arange(num_positions, dtype=torch.float64)
    embeddings.position.weight.copy_(sinusoids(places, width, frequencies))
    embeddings.position.weight.mul_(embeddings.word.weight.square().mean().sqrt())
    if embeddings.num_segments:
        embeddings.token_type.weight.mul_(SHRINK)
    for stack in (encoder, *others):
        initialize_offsets(stack, frequencies)
    if isinstance(embeddings.layer_norm, nn.Identity):
        scale_outputs(encoder.layers, UNNORMALISED)


@torch.no_grad()
def initialize_offsets(stack: Stack, frequencies: Tensor) -> None:
    """Sets the first layers' heads to offsets, and a projection to one that copies the features of the positions.

    Args:
        stack: layers with normally distributed weights, changed in place.
        frequencies: (n,) those of the position embeddings.
    """
    layers = [layer for layer in stack.layers if isinstance(layer, AbsoluteLayer)]
    heads, is_repeated = layers[0].heads, len(layers) < stack.num_layers
    if stack.projection is not None:
        copy_features(stack.projection.weight, 2 * len(frequencies))
    for number, layer in enumerate(layers):
        query, key, _ = layer.qkv.weight.unflatten(0, (3, heads, -1)).unbind()  # (N, D, H) each
        for head, offset in enumerate(first_offsets(number, heads, is_repeated)):
            attend_to_offset(query[head], key[head], frequencies, offset)
    shrink_later_outputs([(layer.attention_output.weight, layer.output.weight) for layer in layers])


@torch.no_grad()
def scale_outputs(layers: Iterable[Any], factor: float) -> None:
    """Scales the weights of the products of layers whose results are added to the residual stream.

    With 1 / sqrt(2 L) for L layers, the variance of a stream that no layer normalises does not grow with their number.
    Source: Shoeybi et al. 2019, Megatron-LM (https://arxiv.org/abs/1909.08053), section 5.1.

    Args:
        layers: layers with two such products, changed in place.
        factor: factor of the weights.
    """
    for layer in layers:
        layer.attention_output.weight.mul_(factor)
        layer.output.weight.mul_(factor)


@torch.no_grad()
def shrink_later_outputs(outputs: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Scales the products that end on the residual stream in layers without offsets, if these are more than LATER.

    A feed-forward network with weights of the usual size adds 0.4 of the norm of its input, so that ten layers turn the
    states away from those that the first two layers have made: the cosine between them is 0.5, and 0.97 when the ten
    add what two would. Related work: GPT-2 divides these weights by the root of their number (Radford et al. 2019),
    ReZero begins with 0 (Bachlechner et al. 2020, https://arxiv.org/abs/2003.04887).

    Args:
        outputs: the weights of these two products of every layer, changed in place.
    """
    later = outputs[WITH_OFFSETS:]
    factor = min(1.0, LATER / max(len(later), 1))
    for weights in later:
        for weight in weights:
            weight.mul_(factor)


def first_offsets(layer: int, heads: int, is_repeated: bool = False) -> tuple[int, ...]:
    """Returns the offsets on which the first heads of a layer begin; its other heads begin at random.

    These are up to eight heads of the first layer and half of the heads of the second one. Where all heads of the
    second layer begin on offsets, masked tokens are learnt no sooner, and next-sentence prediction later. A repeated
    layer is the first and the second layer at once, so that half of its heads begin on offsets.

    Args:
        layer: number of the layer, from 0.
        heads: N.
        is_repeated: whether the model repeats its layers.
    """
    return NEAREST[: (heads // 2 if is_repeated else heads, heads // 2)[layer]] if layer < WITH_OFFSETS else ()


@torch.no_grad()
def copy_features(weight: Tensor, number: int) -> None:
    """Changes a projection (H, E) of normalised embeddings so that it copies their first `number` features.

    The random part is scaled to give the other features as much energy as the copied ones: words and positions then
    have the mean square in the hidden states that they have in a model without a projection.
    """
    hidden, width = weight.shape
    weight.mul_(1 / (math.sqrt(width) * weight.square().mean().sqrt()))
    even = torch.arange(number)
    weight[even, even] += math.sqrt(hidden / width)


@torch.no_grad()
def initialize_output_bias(bias: Tensor, frequencies: Tensor) -> None:
    """Sets the bias of the logits to the logarithm of the tokens' frequencies, shifted to a mean of 0.

    With small weights the first prediction is then the frequencies themselves, which the model need not learn; the
    shift changes no probability. Source: Karpathy 2019, "A Recipe for Training Neural Networks" (initialise the last
    layer's bias to the statistics of the targets).

    Args:
        bias: (V,), changed in place.
        frequencies: (V,) float64, all above 0.
    """
    logarithms = frequencies.log()
    bias.copy_(logarithms - logarithms.mean())


def position_frequencies(number: int) -> Tensor:
    """Returns (number,) frequencies in radians per token, one in each of equally wide parts of [LOWEST, HIGHEST).

    Equal steps would repeat the same scores after 2 pi / step tokens; within its part, each frequency is therefore
    displaced by the fractional part of a quadratic sequence.
    """
    steps = torch.arange(number, dtype=torch.float64)
    displaced = steps + (steps.square() * (math.sqrt(5) - 1) / 2).frac()
    return LOWEST + displaced * (HIGHEST - LOWEST) / number


def sinusoids(positions: Tensor, hidden_size: int, frequencies: Tensor) -> Tensor:
    """Returns (P, H) vectors with cosine and sine of frequency k in the features 2k and 2k + 1; their mean square is 1,
    as that of normally distributed vectors with a standard deviation of 1.

    Args:
        positions: (P,) float64, positions or distances in tokens.
        hidden_size: H.
        frequencies: (n,) float64, in radians per token.
    """
    angles = positions[:, None] * frequencies  # (P, n)
    table = torch.zeros(len(positions), hidden_size)
    amplitude = math.sqrt(hidden_size / len(frequencies))
    table[:, : 2 * len(frequencies)] = amplitude * torch.stack([angles.cos(), angles.sin()], -1).flatten(1)
    return table


def attend_to_offset(query: Tensor, key: Tensor, frequencies: Tensor, offset: int) -> None:
    """Changes the weights of a head so that each token attends to the one `offset` positions after it.

    Word and position have equal energy, and the sum is normalised, so that the positions of a token have the squared
    norm H / 2; SCORE = s^2 (H / 2) / sqrt(D) yields the strength s.

    Args:
        query, key: (D, H) weights of the head, changed in place.
        frequencies: (n,) those of the position embeddings.
        offset: number of tokens, negative for tokens before.
    """
    width, hidden = query.shape
    strength = math.sqrt(SCORE * 2 * math.sqrt(width) / hidden)
    cosine, sine = (strength * (offset * frequencies).cos()).float(), (strength * (offset * frequencies).sin()).float()
    even = torch.arange(len(frequencies)) * 2
    query.mul_(SHRINK)
    key.mul_(SHRINK)
    query[even, even] += strength
    query[even + 1, even + 1] += strength
    key[even, even] += cosine
    key[even, even + 1] += sine
    key[even + 1, even] -= sine
    key[even + 1, even + 1] += cosine
