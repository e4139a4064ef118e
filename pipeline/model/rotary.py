"""The encoder of ModernBERT: normalisation before each sub-layer, rotary positions, GeGLU, and local attention in turn
with global attention; no linear layer and no normalisation has a bias.

The normalised embeddings are the input of the first attention, which has no normalisation of its own, and the last
layer is followed by one. Source: Warner et al. 2024 (https://arxiv.org/abs/2412.13663), section 2.1; normalisation
before the sub-layers: Xiong et al. 2020 (https://arxiv.org/abs/2002.04745).

Shapes: T tokens, N heads, D head_dim, H hidden_size, I intermediate_size.
"""

from functools import partial
from typing import NamedTuple

from torch import Tensor, nn

from pipeline.kernels.attention import attention
from pipeline.kernels.dropout import Dropout
from pipeline.kernels.geglu import GatedProduct
from pipeline.kernels.gelu import APPROXIMATE
from pipeline.kernels.linear import Linear
from pipeline.kernels.rotary import Rotation, rotate, rotation
from pipeline.kernels.rows import LayerNorm
from pipeline.model.config import EncoderConfig, RotaryConfig
from pipeline.model.encoder import Seeds, Stack, WordEmbeddings


class Rotations(NamedTuple):
    """The rotations of a micro-batch."""

    of_global: Rotation
    """Those of layers with global attention."""
    of_local: Rotation
    """Those of layers with local attention."""


class RotaryLayer(nn.Module):
    """Self-attention and a gated feed-forward network, each behind a normalisation and added to its input.

    Args:
        config: shape and regularisation.
        number: number of the layer, from 0.
    """

    def __init__(self, config: RotaryConfig, number: int) -> None:
        super().__init__()
        hidden, intermediate = config.hidden_size, config.intermediate_size
        norm = partial(LayerNorm, hidden, config.layer_norm_eps, bias=False)
        linear = partial(Linear, fp8=config.fp8, backend=config.kernels, bias=False)
        self.heads = config.num_attention_heads
        self.is_local = config.is_local(number)
        self.attention_dropout = config.attention_probs_dropout_prob
        window = config.window if self.is_local else None
        self.attention = partial(attention, wanted=config.attention, kernels=config.kernels, window=window)
        self.attention_layer_norm = norm() if number else nn.Identity()
        self.qkv = linear(hidden, 3 * hidden)
        self.attention_output = linear(hidden, hidden)
        self.attention_output_dropout = Dropout(config.attention_output_dropout_prob)
        self.output_layer_norm = norm()
        self.intermediate = linear(hidden, 2 * intermediate)
        self.output = GatedProduct(
            intermediate,
            hidden,
            APPROXIMATE[config.hidden_act],
            config.recompute_activation,
            config.kernels,
            config.fp8,
        )
        self.output_dropout = Dropout(config.hidden_dropout_prob)

    def forward(
        self, hidden: Tensor, cu_seqlens: Tensor, max_seqlen: int, seeds: Seeds, rotations: Rotations
    ) -> Tensor:
        """Map hidden states (T, H) to hidden states (T, H).

        Args:
            hidden: (T, H).
            cu_seqlens: (B + 1,) int32, bounds of the sequences.
            max_seqlen: tokens of the longest sequence.
            seeds: () int64 each, the first one that of the dropout after the attention's softmax; None: drawn there.
            rotations: those of the tokens.
        """
        qkv = self.qkv(self.attention_layer_norm(hidden))[0].unflatten(1, (3, self.heads, -1))  # (T, 3, N, D)
        qkv = rotate(qkv, rotations.of_local if self.is_local else rotations.of_global)
        dropout_p = self.attention_dropout if self.training else 0.0
        context = self.attention(qkv, cu_seqlens, max_seqlen, dropout_p, seed=seeds[0]).flatten(1)  # (T, H)
        hidden = hidden + self.attention_output_dropout(self.attention_output(context)[0])
        inner = self.intermediate(self.output_layer_norm(hidden))[0]  # (T, 2 I)
        return hidden + self.output_dropout(self.output(inner))


class RotaryEncoder(Stack):
    """Word embeddings and layers with rotary positions.

    Args:
        config: shape and regularisation.
        vocab_size: number of tokens in the tokenizer.
    """

    embeddings: WordEmbeddings

    def __init__(self, config: RotaryConfig, vocab_size: int) -> None:
        super().__init__(config, WordEmbeddings(config, vocab_size, bias=False))
        self.final_layer_norm = LayerNorm(config.hidden_size, config.layer_norm_eps, bias=False)
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.thetas = config.global_rope_theta, config.local_rope_theta

    def make_layer(self, config: EncoderConfig, number: int) -> nn.Module:
        """Makes a layer with local or global attention."""
        assert isinstance(config, RotaryConfig), "the constructor takes one"
        return RotaryLayer(config, number)

    def forward(  # type: ignore[override]
        self,
        input_ids: Tensor,
        segment_ids: Tensor | None,
        position_ids: Tensor,
        cu_seqlens: Tensor,
        max_seqlen: int,
    ) -> Tensor:
        """Encodes sequences laid end to end.

        Args:
            input_ids: (T,) integers.
            segment_ids: ignored.
            position_ids: (T,) integers, which count within each sequence.
            cu_seqlens: (B + 1,) int32, bounds of the sequences.
            max_seqlen: tokens of the longest sequence.

        Returns:
            (T, H) normalised hidden states of the last layer.
        """
        hidden = self.embeddings(input_ids)
        rotations = Rotations(*(rotation(position_ids, self.head_dim, theta) for theta in self.thetas))
        for number, seeds in enumerate(self.seeds(hidden)):
            hidden = self.run(number, hidden, cu_seqlens, max_seqlen, seeds, rotations)
        out: Tensor = self.final_layer_norm(hidden)
        return out
