"""The encoder of DeBERTa: words without positions, and disentangled attention to relative positions in every layer.

All layers share one table of relative embeddings. A layer projects it with its own projections of queries and keys.
Source: He et al. 2021, DeBERTa (https://arxiv.org/abs/2006.03654), section 3; version 2 of microsoft/DeBERTa, bert.py
and disentangled_attention.py.

Shapes: T tokens, M masked tokens, H hidden_size, N heads, D = H / N, R relative embeddings, L the longest sequence.
"""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.kernels import disentangled
from pipeline.kernels.dropout import Dropout
from pipeline.kernels.residual_norm import ResidualNorm
from pipeline.kernels.rows import Embedding, LayerNorm
from pipeline.model.config import DisentangledConfig, EncoderConfig
from pipeline.model.encoder import UNSEEDED, Layer, Seeds, Stack, WordEmbeddings


class Positions(NamedTuple):
    """The relative positions of a micro-batch."""

    embeddings: Tensor
    """(R, H), normalised."""
    rows: Tensor
    """(2 L + 1,) their rows for the distances -L to L."""


class DisentangledLayer(Layer):
    """A layer whose attention depends on relative positions."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        self.attention = partial(disentangled.attention, wanted=config.attention, kernels=config.kernels)
        self.relative_dropout = Dropout(config.hidden_dropout_prob)

    def forward(  # type: ignore[override]
        self,
        hidden: Tensor,
        cu_seqlens: Tensor,
        max_seqlen: int,
        seeds: Seeds,
        positions: Positions,
        queries: Tensor | None = None,
        places: Tensor | None = None,
    ) -> Tensor:
        """Map hidden states (T, H) to hidden states (T, H), or only some queries on them to outputs (M, H).

        Args:
            hidden: (T, H), of which keys and values are made.
            cu_seqlens, max_seqlen, seeds: as in `Layer`.
            positions: the relative positions.
            queries: (M, H) states that take the place of hidden states as queries and in the residual sum; None: all
                hidden states do.
            places: (M,) indices of the queries' tokens.
        """
        parts = (3, self.heads, -1)
        qkv, _, residual = self.qkv(hidden)
        qkv = qkv.unflatten(1, parts)  # (T, 3, N, D)
        table = self.qkv(self.relative_dropout(positions.embeddings))[0].unflatten(1, parts)  # (R, 3, N, D)
        if queries is not None and places is not None:
            own, _, residual = self.qkv(queries)
            own = own.unflatten(1, parts)[:, 0]  # (M, N, D)
            qkv = torch.cat((qkv[:, :1].index_copy(0, places, own[:, None]), qkv[:, 1:]), 1)
        dropout_p = self.attention_dropout if self.training else 0.0
        context = self.attention(qkv, table, positions.rows, cu_seqlens, max_seqlen, dropout_p, seed=seeds[0]).flatten(
            1
        )  # (T, H)
        if places is not None:
            context = context.index_select(0, places)  # (M, H)
        return self.after_attention(context, residual, seeds)


class Convolution(nn.Conv1d):
    """Convolution over three neighbouring tokens of a sequence; beyond its ends there are zeros."""

    def __init__(self, width: int) -> None:
        super().__init__(width, width, 3)

    def forward(self, hidden: Tensor, cu_seqlens: Tensor) -> Tensor:  # type: ignore[override]
        """Takes hidden states (T, H) and bounds of sequences (B + 1,), returns (T, H)."""
        bounds = torch.zeros(len(hidden) + 1, dtype=torch.bool, device=hidden.device)
        bounds = bounds.index_fill(0, cu_seqlens.long(), True)[:, None]  # (T + 1, 1)
        before = functional.pad(hidden[:-1], (0, 0, 1, 0)).masked_fill(bounds[:-1], 0.0)
        after = functional.pad(hidden[1:], (0, 0, 0, 1)).masked_fill(bounds[1:], 0.0)
        neighbours = torch.cat((before, hidden, after), 1)  # (T, 3 H)
        return functional.linear(neighbours, self.weight.permute(0, 2, 1).flatten(1), self.bias)


class ConvolvedLayer(nn.Module):
    """Adds a convolution of the embeddings to the output of the first layer, as version 2 xlarge does."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.convolution = Convolution(config.hidden_size)
        self.dropout = Dropout(config.hidden_dropout_prob)
        self.layer_norm = ResidualNorm(config.hidden_size, config.layer_norm_eps, 0.0, config.kernels)

    def forward(self, embedded: Tensor, output: Tensor, cu_seqlens: Tensor) -> Tensor:
        """Takes embeddings and the layer's output (T, H) each, returns (T, H)."""
        found: Tensor = self.layer_norm(functional.gelu(self.dropout(self.convolution(embedded, cu_seqlens))), output)
        return found


class DisentangledEncoder(Stack):
    """Word embeddings and layers with disentangled attention.

    Args:
        config: shape and regularisation.
        vocab_size: number of tokens in the tokenizer.
    """

    embeddings: WordEmbeddings

    def __init__(self, config: DisentangledConfig, vocab_size: int) -> None:
        super().__init__(config, WordEmbeddings(config, vocab_size))
        self.buckets = disentangled.Buckets(config.position_buckets, config.max_position_embeddings)
        self.relative = Embedding(2 * config.position_buckets, config.hidden_size)
        self.relative_layer_norm = LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.convolved = ConvolvedLayer(config) if config.convolution else None

    def make_layer(self, config: EncoderConfig, number: int) -> nn.Module:
        """Makes a layer with disentangled attention."""
        return DisentangledLayer(config)

    def forward(  # type: ignore[override]
        self,
        input_ids: Tensor,
        segment_ids: Tensor | None,
        position_ids: Tensor,
        cu_seqlens: Tensor,
        max_seqlen: int,
    ) -> Tensor:
        """Encodes sequences laid end to end; segment and position ids are not used, as positions are relative.

        Args:
            input_ids: (T,) integers.
            segment_ids, position_ids: unused, for the interface of an encoder.
            cu_seqlens: (B + 1,) int32, bounds of the sequences.
            max_seqlen: tokens of the longest sequence.

        Returns:
            (T, H) hidden states of the last layer.
        """
        return self.encoded(self.embeddings(input_ids), cu_seqlens, max_seqlen)

    def encoded(self, embedded: Tensor, cu_seqlens: Tensor, max_seqlen: int) -> Tensor:
        """Computes all layers on embeddings (T, H)."""
        return self.first_layers(self.num_layers, embedded, cu_seqlens, max_seqlen, self.positions(max_seqlen))

    def positions(self, max_seqlen: int) -> Positions:
        """Returns the relative positions of sequences of up to `max_seqlen` tokens."""
        numbers = torch.arange(self.relative.num_embeddings, device=self.relative.weight.device)
        embeddings = self.relative_layer_norm(self.relative(numbers))
        return Positions(embeddings, self.buckets.rows(max_seqlen, embeddings.device))

    def first_layers(
        self, count: int, embedded: Tensor, cu_seqlens: Tensor, max_seqlen: int, positions: Positions
    ) -> Tensor:
        """Returns the hidden states (T, H) behind the first layers.

        Args:
            count: number of the layers. Without a layer, a convolution is added to the embeddings themselves.
            embedded: (T, H) embeddings.
            cu_seqlens, max_seqlen: as in `forward`.
            positions: the relative positions.
        """
        hidden = embedded
        for number, seeds in zip(range(max(count, 1)), self.seeds(embedded), strict=False):
            if number < count:
                hidden = self.run(number, hidden, cu_seqlens, max_seqlen, seeds, positions)
            if number == 0 and self.convolved is not None:
                hidden = self.convolved(embedded, hidden, cu_seqlens)
        return hidden


class MaskDecoder(nn.Module):
    """The enhanced mask decoder: the last layer, applied twice to queries that know their absolute positions.

    Keys and values are made of the input of the last layer both times. The first queries are that input, to which the
    embeddings of absolute positions are added; the second queries are the output of the first application. Only masked
    tokens have queries, since the loss needs no others.

    Source: He et al. 2021, section 3.2; microsoft/DeBERTa, masked_language_model.py.

    Args:
        config: shape and regularisation.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.position = Embedding(config.max_position_embeddings, config.hidden_size)

    def forward(
        self,
        encoder: DisentangledEncoder,
        embedded: Tensor,
        position_ids: Tensor,
        cu_seqlens: Tensor,
        max_seqlen: int,
        places: Tensor,
    ) -> Tensor:
        """Returns the decoded states (M, H) of tokens.

        Args:
            encoder: the encoder.
            embedded: (T, H) its embeddings.
            position_ids: (T,) positions in the sequences.
            cu_seqlens: (B + 1,) int32, bounds of the sequences.
            max_seqlen: tokens of the longest sequence.
            places: (M,) indices of the tokens. Those that occur several times, as in padding, must be without a loss.
        """
        positions, last = encoder.positions(max_seqlen), encoder.num_layers - 1
        hidden = encoder.first_layers(last, embedded, cu_seqlens, max_seqlen, positions)
        queries = hidden.index_select(0, places) + self.position(position_ids.index_select(0, places))
        for _ in range(2):
            queries = encoder.run(last, hidden, cu_seqlens, max_seqlen, UNSEEDED, positions, queries, places)
        return queries
