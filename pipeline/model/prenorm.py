"""The encoder of Megatron-LM's BERT: normalisation before each sub-layer instead of after its residual sum.

The embeddings are not normalised, and the last layer is followed by a normalisation. Sources: Shoeybi et al. 2019
(https://arxiv.org/abs/1909.08053), section 5.3 and figure 7; Xiong et al. 2020 (https://arxiv.org/abs/2002.04745).

Shapes: T tokens, N heads, D = H / N, H hidden_size, I intermediate_size.
"""

from functools import partial

from torch import Tensor, nn

from pipeline.kernels.attention import attention
from pipeline.kernels.dropout import Dropout
from pipeline.kernels.gelu import APPROXIMATE, GeluLinear
from pipeline.kernels.linear import Linear
from pipeline.kernels.rows import LayerNorm
from pipeline.model.config import EncoderConfig
from pipeline.model.encoder import UNSEEDED, Encoder, Seeds


class PreNormLayer(nn.Module):
    """Self-attention and a feed-forward network, each behind a normalisation and, after dropout, added to its input."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        hidden, intermediate = config.hidden_size, config.intermediate_size
        recompute, approximate = config.recompute_activation, APPROXIMATE[config.hidden_act]
        self.heads = config.num_attention_heads
        self.attention_dropout = config.attention_probs_dropout_prob
        self.attention = partial(attention, wanted=config.attention, kernels=config.kernels)
        self.attention_layer_norm = LayerNorm(hidden, config.layer_norm_eps)
        self.qkv = Linear(hidden, 3 * hidden, config.fp8, config.kernels)
        self.attention_output = Linear(hidden, hidden, config.fp8, config.kernels)
        self.output_layer_norm = LayerNorm(hidden, config.layer_norm_eps)
        self.intermediate = Linear(hidden, intermediate, config.fp8, config.kernels, ported=recompute)
        self.output = GeluLinear(intermediate, hidden, approximate, recompute, config.fp8, config.kernels)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, hidden: Tensor, cu_seqlens: Tensor, max_seqlen: int, seeds: Seeds = UNSEEDED) -> Tensor:
        """Map hidden states (T, H) to hidden states (T, H).

        Args:
            hidden: (T, H).
            cu_seqlens: (B + 1,) int32, bounds of the sequences.
            max_seqlen: tokens of the longest sequence.
            seeds: () int64 each, the first one that of the dropout after the attention's softmax; None: drawn there.
        """
        qkv = self.qkv(self.attention_layer_norm(hidden))[0].unflatten(1, (3, self.heads, -1))  # (T, 3, N, D)
        dropout_p = self.attention_dropout if self.training else 0.0
        context = self.attention(qkv, cu_seqlens, max_seqlen, dropout_p, seed=seeds[0]).flatten(1)  # (T, H)
        hidden = hidden + self.dropout(self.attention_output(context)[0])
        inner, port, _ = self.intermediate(self.output_layer_norm(hidden))  # (T, I)
        return hidden + self.dropout(self.output(inner, port)[0])


class PreNormEncoder(Encoder):
    """Embeddings, layers with normalisation before their sub-layers, and a normalisation of the last hidden states.

    Args:
        config: shape and regularisation.
        vocab_size: number of tokens in the tokenizer.
        num_segments: number of segment embeddings.
    """

    def __init__(self, config: EncoderConfig, vocab_size: int, num_segments: int) -> None:
        super().__init__(config, vocab_size, num_segments, normalised=False)
        self.final_layer_norm = LayerNorm(config.hidden_size, config.layer_norm_eps)

    def make_layer(self, config: EncoderConfig, number: int) -> nn.Module:
        """Makes a layer with normalisation before its sub-layers."""
        return PreNormLayer(config)

    def encoded(self, embedded: Tensor, cu_seqlens: Tensor, max_seqlen: int) -> Tensor:
        """Computes the layers and the last normalisation; arguments as in `forward`."""
        out: Tensor = self.final_layer_norm(super().encoded(embedded, cu_seqlens, max_seqlen))
        return out
