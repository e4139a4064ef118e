"""Heads on the encoder's hidden states. Each runs only on the rows that its loss needs.

The vocabulary is thirty times as large as the hidden size: logits of the masked tokens alone, 15 % of all, save 8 % of
a training step's time and most of its memory.

Shapes: T tokens, B sequences, M masked tokens, E width of the embeddings, H hidden_size, V vocab_size.
"""

import torch
from torch import Tensor, nn

from pipeline.kernels.rows import Embedding, LayerNorm
from pipeline.losses.cross_entropy import RowSum
from pipeline.losses.distillation import SoftTargets, soft_target_sum
from pipeline.losses.projection import projected_cross_entropy_sum
from pipeline.losses.sampling import projected_samples
from pipeline.model.encoder import ACTIVATIONS, EncoderConfig


class Pooler(nn.Module):
    """Linear layer with tanh on the hidden state of each sequence's first token ([CLS])."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)

    def forward(self, hidden: Tensor, first_tokens: Tensor) -> Tensor:
        """Takes hidden states (T, H) and the index of each sequence's first token (B,), returns (B, H)."""
        return self.dense(hidden.index_select(0, first_tokens)).tanh()


class Decoder(nn.Linear):
    """Product with the word embeddings. It also computes the loss, so that not all logits must be in memory at once."""

    def __init__(self, config: EncoderConfig, vocab_size: int) -> None:
        super().__init__(config.embedding_width, vocab_size)
        self.max_bytes = config.max_logits_mib << 20
        self.backend, self.z_weight = config.kernels, config.z_loss

    def forward(  # type: ignore[override]
        self,
        rows: Tensor,
        labels: Tensor | None = None,
        uniform: Tensor | None = None,
        soft: SoftTargets | None = None,
    ) -> Tensor | RowSum:
        """Takes rows (M, E); returns their logits (M, V), given labels (M,) the sum of their cross entropies, given
        numbers in [0, 1) (M,) a token of each row, drawn from the softmax of its logits, or given a teacher's soft
        targets the sum of the divergences from them.
        """
        if soft is not None:
            return soft_target_sum(rows, self.weight, self.bias, soft, self.max_bytes)
        if uniform is not None:
            return projected_samples(rows, self.weight, self.bias, uniform, self.max_bytes)
        if labels is None:
            return super().forward(rows)
        return projected_cross_entropy_sum(
            rows, self.weight, self.bias, labels, self.max_bytes, self.backend, self.z_weight
        )


class MaskedLMHead(nn.Module):
    """Logits over the vocabulary, or their loss; the output matrix is tied to the word embeddings.

    Args:
        config: supplies widths, activation and epsilon.
        word_embeddings: (V, E), shared and not copied.
        bias: whether the parts before the output matrix have biases.
    """

    def __init__(self, config: EncoderConfig, word_embeddings: nn.Embedding, bias: bool = True) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.embedding_width, bias)
        self.activation = ACTIVATIONS[config.hidden_act]
        self.layer_norm = LayerNorm(config.embedding_width, config.layer_norm_eps, bias=bias)
        # The decoder is a module that owns the shared parameter, because ZeRO-3 gathers the parameters of the module
        # that runs; a product with another module's weight would use a partition.
        self.decoder = Decoder(config, word_embeddings.num_embeddings)
        self.decoder.weight = word_embeddings.weight

    def forward(
        self,
        rows: Tensor,
        labels: Tensor | None = None,
        uniform: Tensor | None = None,
        soft: SoftTargets | None = None,
    ) -> Tensor | RowSum:
        """Takes the hidden states of masked tokens (M, H); returns logits (M, V), a loss given labels (M,) or soft
        targets, or tokens (M,) given numbers in [0, 1) (M,), as `Decoder` does.
        """
        out: Tensor | RowSum = self.decoder(self.features(rows), labels, uniform, soft)
        return out

    def features(self, rows: Tensor) -> Tensor:
        """Takes the hidden states of masked tokens (M, H), returns the rows (M, E) that `Decoder` takes."""
        out: Tensor = self.layer_norm(self.activation(self.dense(rows)))
        return out


class SpanBoundaryHead(nn.Module):
    """Logits over the vocabulary of the tokens of spans, or their loss, from the hidden states of the two tokens beside
    each span and from the position in the span; the output matrix is tied to the word embeddings.

    Source: Joshi et al. 2019, SpanBERT (https://arxiv.org/abs/1907.10529), section 3.2.

    Args:
        config: supplies widths, activation and epsilon.
        word_embeddings: (V, E), shared and not copied.
        positions: number of positions in a span that have embeddings of their own.
        width: width of these embeddings.
    """

    def __init__(self, config: EncoderConfig, word_embeddings: nn.Embedding, positions: int, width: int) -> None:
        super().__init__()
        hidden, out = config.hidden_size, config.embedding_width
        self.position = Embedding(positions, width)
        self.first = nn.Linear(2 * hidden + width, hidden)
        self.first_layer_norm = LayerNorm(hidden, config.layer_norm_eps)
        self.second = nn.Linear(hidden, out)
        self.second_layer_norm = LayerNorm(out, config.layer_norm_eps)
        self.activation = ACTIVATIONS[config.hidden_act]
        self.decoder = Decoder(config, word_embeddings.num_embeddings)
        self.decoder.weight = word_embeddings.weight

    def forward(self, before: Tensor, after: Tensor, places: Tensor, labels: Tensor | None = None) -> Tensor | RowSum:
        """Takes the hidden states of the tokens before and after the span of each masked token (M, H), and its place in
        the span (M,), from 0; returns logits (M, V), or a loss given labels (M,), as `Decoder` does.
        """
        rows = torch.cat([before, after, self.position(places)], dim=1)  # (M, 2 H + width)
        rows = self.first_layer_norm(self.activation(self.first(rows)))
        rows = self.second_layer_norm(self.activation(self.second(rows)))  # (M, E)
        out: Tensor | RowSum = self.decoder(rows, labels)
        return out


class DetectionHead(nn.Module):
    """Logit of each token for having been replaced."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = ACTIVATIONS[config.hidden_act]
        self.prediction = nn.Linear(config.hidden_size, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        """Takes hidden states (T, H), returns logits (T,)."""
        return self.prediction(self.activation(self.dense(hidden))).squeeze(1)
