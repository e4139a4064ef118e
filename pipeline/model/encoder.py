"""The transformer encoder over unpadded tokens.

A micro-batch has no batch dimension: all its sequences lie end to end in one tensor of T tokens, so that every matrix
product and every normalisation runs on real tokens only. Only attention depends on the bounds of sequences. Query, key
and value are one projection: one product instead of three.

Normalisation comes after each residual sum (post-LN), as in the released BERT. Source: Devlin et al. 2018;
google-research/bert, modeling.py.

Shapes: T tokens, B sequences, H hidden_size, N attention heads, D = H / N, I intermediate_size, V vocab_size.
"""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from pipeline.kernels.attention import attention
from pipeline.kernels.dropout import Dropout
from pipeline.kernels.fp8 import Linear
from pipeline.kernels.gelu import APPROXIMATE, FirstProduct, SecondProduct
from pipeline.kernels.residual_norm import ResidualNorm
from pipeline.kernels.rows import Embedding, LayerNorm
from pipeline.model.config import EncoderConfig

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    name: partial(functional.gelu, approximate=approximate) for name, approximate in APPROXIMATE.items()
}


class Embeddings(nn.Module):
    """Sum of word, position and, if the model has them, segment embeddings, normalised."""

    def __init__(self, config: EncoderConfig, vocab_size: int, num_segments: int) -> None:
        super().__init__()
        self.word = Embedding(vocab_size, config.hidden_size)
        self.position = Embedding(config.max_position_embeddings, config.hidden_size)
        if num_segments:
            self.token_type = Embedding(num_segments, config.hidden_size)
        self.num_segments = num_segments
        self.layer_norm = LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids: Tensor, segment_ids: Tensor | None, position_ids: Tensor) -> Tensor:
        embedded = self.word(input_ids) + self.position(position_ids)  # (T, H)
        if self.num_segments:
            embedded = embedded + self.token_type(segment_ids)
        return self.dropout(self.layer_norm(embedded))


class Layer(nn.Module):
    """Self-attention and a feed-forward network, each with dropout, a residual sum and a normalisation after it."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        hidden, intermediate = config.hidden_size, config.intermediate_size
        norm = partial(ResidualNorm, hidden, config.layer_norm_eps, config.hidden_dropout_prob, config.kernels)
        recompute, approximate = config.recompute_activation, APPROXIMATE[config.hidden_act]
        self.heads = config.num_attention_heads
        self.attention_dropout = config.attention_probs_dropout_prob
        self.attention = partial(attention, wanted=config.attention, kernels=config.kernels)
        self.qkv = Linear(hidden, 3 * hidden, config.fp8, config.kernels)
        self.attention_output = Linear(hidden, hidden, config.fp8, config.kernels)
        self.attention_layer_norm = norm()
        self.intermediate = FirstProduct(hidden, intermediate, recompute, config.kernels, config.fp8)
        self.output = SecondProduct(intermediate, hidden, approximate, recompute, config.kernels, config.fp8)
        self.output_layer_norm = norm()

    def forward(self, hidden: Tensor, cu_seqlens: Tensor, max_seqlen: int) -> Tensor:
        qkv = self.qkv(hidden).unflatten(1, (3, self.heads, -1))  # (T, 3, N, D)
        dropout_p = self.attention_dropout if self.training else 0.0
        context = self.attention(qkv, cu_seqlens, max_seqlen, dropout_p).flatten(1)  # (T, H)
        hidden = self.attention_layer_norm(self.attention_output(context), hidden)  # (T, H)
        inner, port = self.intermediate(hidden)  # (T, I)
        return self.output_layer_norm(self.output(inner, port), hidden)  # (T, H)


class Encoder(nn.Module):
    """Embeddings and a stack of layers, which compute one hidden state per token.

    Args:
        config: shape and regularisation.
        vocab_size: V.
        num_segments: number of segment embeddings; 0: the model ignores segment ids.
    """

    def __init__(self, config: EncoderConfig, vocab_size: int, num_segments: int) -> None:
        super().__init__()
        self.checkpointed_layers = config.checkpointed_layers
        self.embeddings = Embeddings(config, vocab_size, num_segments)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))

    def forward(
        self,
        input_ids: Tensor,
        segment_ids: Tensor | None,
        position_ids: Tensor,
        cu_seqlens: Tensor,
        max_seqlen: int,
    ) -> Tensor:
        """Encodes sequences laid end to end.

        Args:
            input_ids, segment_ids, position_ids: (T,) integers; positions count within each sequence.
            cu_seqlens: (B + 1,) int32, bounds of the sequences.
            max_seqlen: tokens of the longest sequence.

        Returns:
            (T, H) hidden states of the last layer.
        """
        hidden = self.embeddings(input_ids, segment_ids, position_ids)  # (T, H)
        for number, layer in enumerate(self.layers):
            if number < self.checkpointed_layers:
                # The reentrant variant breaks under ZeRO 2 and 3 where a module runs twice in a step.
                hidden = checkpoint(layer, hidden, cu_seqlens, max_seqlen, use_reentrant=False)
            else:
                hidden = layer(hidden, cu_seqlens, max_seqlen)
        return hidden
