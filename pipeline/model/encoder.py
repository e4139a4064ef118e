"""The transformer encoder over unpadded tokens.

A micro-batch has no batch dimension: all its sequences lie end to end in one tensor of T tokens, so that every matrix
product and every normalisation runs on real tokens only. Only attention depends on the bounds of sequences. Query, key
and value are one projection: one product instead of three.

Normalisation comes after each residual sum (post-LN), as in the released BERT. Source: Devlin et al. 2018;
google-research/bert, modeling.py.

Shapes: T tokens, B sequences, E width of the embeddings, H hidden_size, N attention heads, D = H / N, I
intermediate_size, V vocab_size.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from pipeline.kernels import backends
from pipeline.kernels.attention import attention
from pipeline.kernels.dropout import Dropout, draw_seeds
from pipeline.kernels.gelu import APPROXIMATE, GeluLinear
from pipeline.kernels.linear import Linear
from pipeline.kernels.residual_norm import ResidualNorm
from pipeline.kernels.rows import Embedding, LayerNorm
from pipeline.model.config import EncoderConfig

Seeds = Sequence[Tensor | None]
UNSEEDED: Seeds = (None, None, None)
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    name: partial(functional.gelu, approximate=approximate) for name, approximate in APPROXIMATE.items()
}


class Embeddings(nn.Module):
    """Sum of word, position and, if the model has them, segment embeddings, normalised unless the layers do that."""

    def __init__(self, config: EncoderConfig, vocab_size: int, num_segments: int, normalised: bool = True) -> None:
        super().__init__()
        width = config.embedding_width
        self.word = Embedding(vocab_size, width)
        self.position = Embedding(config.max_position_embeddings, width)
        if num_segments:
            self.token_type = Embedding(num_segments, width)
        self.num_segments = num_segments
        self.layer_norm = LayerNorm(width, config.layer_norm_eps) if normalised else nn.Identity()
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids: Tensor, segment_ids: Tensor | None, position_ids: Tensor) -> Tensor:
        embedded = self.word(input_ids) + self.position(position_ids)  # (T, E)
        if self.num_segments:
            embedded = embedded + self.token_type(segment_ids)
        return self.dropout(self.layer_norm(embedded))


class WordEmbeddings(nn.Module):
    """Word embeddings, normalised, for encoders whose attention knows the positions.

    Args:
        config: shape and regularisation.
        vocab_size: number of tokens in the tokenizer.
        bias: whether the normalisation has a bias.
    """

    def __init__(self, config: EncoderConfig, vocab_size: int, bias: bool = True) -> None:
        super().__init__()
        self.word = Embedding(vocab_size, config.hidden_size)
        self.layer_norm = LayerNorm(config.hidden_size, config.layer_norm_eps, bias=bias)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids: Tensor, shared: Tensor | None = None) -> Tensor:
        """Takes tokens (T,), and embeddings (T, H) to which their own are added; returns (T, H)."""
        embedded = self.word(input_ids)
        return self.dropout(self.layer_norm(embedded if shared is None else embedded + shared))


class Layer(nn.Module):
    """Self-attention and a feed-forward network, each with dropout, a residual sum and a normalisation after it."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        hidden, intermediate = config.hidden_size, config.intermediate_size
        norm = partial(ResidualNorm, hidden, config.layer_norm_eps, config.hidden_dropout_prob, config.kernels)
        recompute, approximate = config.recompute_activation, APPROXIMATE[config.hidden_act]
        self.heads = config.num_attention_heads
        self.attention_dropout = config.attention_probs_dropout_prob
        self.attention: Callable[..., Tensor] = partial(attention, wanted=config.attention, kernels=config.kernels)
        self.qkv = Linear(hidden, 3 * hidden, config.fp8, config.kernels)
        self.attention_output = Linear(hidden, hidden, config.fp8, config.kernels)
        self.attention_layer_norm = norm()
        self.intermediate = Linear(hidden, intermediate, config.fp8, config.kernels, ported=recompute)
        self.output = GeluLinear(intermediate, hidden, approximate, recompute, config.fp8, config.kernels)
        self.output_layer_norm = norm()

    def forward(self, hidden: Tensor, cu_seqlens: Tensor, max_seqlen: int, seeds: Seeds = UNSEEDED) -> Tensor:
        """Map hidden states (T, H) to hidden states (T, H).

        Args:
            hidden: (T, H).
            cu_seqlens: (B + 1,) int32, bounds of the sequences.
            max_seqlen: tokens of the longest sequence.
            seeds: () int64 each, of the dropout after the attention's softmax, before its residual sum, and before that
                of the feed-forward network, for kernels that take one; None: drawn there.
        """
        qkv, _, hidden = self.qkv(hidden)
        qkv = qkv.unflatten(1, (3, self.heads, -1))  # (T, 3, N, D)
        dropout_p = self.attention_dropout if self.training else 0.0
        context = self.attention(qkv, cu_seqlens, max_seqlen, dropout_p, seed=seeds[0]).flatten(1)  # (T, H)
        return self.after_attention(context, hidden, seeds)

    def after_attention(self, context: Tensor, hidden: Tensor, seeds: Seeds) -> Tensor:
        """Compute all that follows the attention, on any number of tokens.

        Args:
            context: (T, H) output of the attention.
            hidden: (T, H) input of the layer, as the product that reads it has returned it.
            seeds: as in `forward`.
        """
        product, port, _ = self.attention_output(context)  # (T, H)
        hidden = self.attention_layer_norm(product, hidden, seeds[1], port)  # (T, H)
        inner, port, hidden = self.intermediate(hidden)  # (T, I), and the residual
        product, port = self.output(inner, port)  # (T, H)
        return self.output_layer_norm(product, hidden, seeds[2], port)  # (T, H)


class Stack(nn.Module):
    """Layers on given embeddings, behind a projection if the configuration has one.

    Layers with parameters of their own are repeated in turn until there are `num_hidden_layers`. A repeated layer is
    one module, whose gradients autograd adds up.

    Args:
        config: shape and regularisation.
        embeddings: module that a subclass registers before the layers; None: the stack has none.
    """

    def __init__(self, config: EncoderConfig, embeddings: nn.Module | None = None) -> None:
        super().__init__()
        self.num_layers, self.checkpointed_layers = config.num_hidden_layers, config.checkpointed_layers
        self.kernels = config.kernels
        self.drops = config.hidden_dropout_prob > 0.0 or config.attention_probs_dropout_prob > 0.0
        if embeddings is not None:
            self.embeddings = embeddings
        self.projection: nn.Linear | None = None
        if config.projects_embeddings:
            self.projection = nn.Linear(config.embedding_width, config.hidden_size)
        self.layers = nn.ModuleList(self.make_layer(config, number) for number in range(config.distinct_layers))

    def make_layer(self, config: EncoderConfig, number: int) -> nn.Module:
        """Makes the layer of a number, from 0; subclasses have other layers."""
        return Layer(config)

    def forward(self, embedded: Tensor, cu_seqlens: Tensor, max_seqlen: int) -> Tensor:
        """Takes embedded tokens (T, E), and returns the hidden states (T, H) of the last layer."""
        return self.encoded(embedded, cu_seqlens, max_seqlen)

    def encoded(self, embedded: Tensor, cu_seqlens: Tensor, max_seqlen: int) -> Tensor:
        """Computes the projection and the layers; arguments as in `forward`."""
        hidden = embedded if self.projection is None else self.projection(embedded)  # (T, H)
        for number, seeds in enumerate(self.seeds(hidden)):
            hidden = self.run(number, hidden, cu_seqlens, max_seqlen, seeds)
        return hidden

    def run(self, number: int, hidden: Tensor, *arguments: Any) -> Tensor:
        """Runs a layer, which recomputes its activations if the configuration says so.

        Args:
            number: number of the layer, from 0.
            hidden: (T, H).
            arguments: further ones of the layer.
        """
        layer = self.layers[number % len(self.layers)]
        if number < self.checkpointed_layers:
            # The reentrant variant breaks under ZeRO 2 and 3 where a module runs twice in a step.
            out: Tensor = checkpoint(layer, hidden, *arguments, use_reentrant=False)
        else:
            out = layer(hidden, *arguments)
        return out

    def seeds(self, hidden: Tensor) -> Iterable[Seeds]:
        """Return the seeds of the dropout of each layer, which one launch draws where kernels take seeds."""
        count, device = self.num_layers, hidden.device
        takes = backends.triton_kernels("residual_norm", self.kernels, device.type) is not None
        if not (takes and self.training and self.drops):
            return [UNSEEDED] * count
        return zip(*[iter(draw_seeds(3 * count, device).unbind())] * 3, strict=True)


class Encoder(Stack):
    """Embeddings and a stack of layers, which compute one hidden state per token.

    Args:
        config: shape and regularisation.
        vocab_size: V.
        num_segments: number of segment embeddings; 0: the model ignores segment ids.
        normalised: whether the embeddings are normalised before the first layer.
    """

    embeddings: Embeddings

    def __init__(self, config: EncoderConfig, vocab_size: int, num_segments: int, normalised: bool = True) -> None:
        super().__init__(config, Embeddings(config, vocab_size, num_segments, normalised))

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
            input_ids, segment_ids, position_ids: (T,) integers; positions count within each sequence.
            cu_seqlens: (B + 1,) int32, bounds of the sequences.
            max_seqlen: tokens of the longest sequence.

        Returns:
            (T, H) hidden states of the last layer.
        """
        return self.encoded(self.embeddings(input_ids, segment_ids, position_ids), cu_seqlens, max_seqlen)
