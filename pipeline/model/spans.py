"""The pre-training model of SpanBERT: masked tokens are predicted twice, from their own hidden states and from those of
the two tokens beside their span.

A span is a maximal sequence of masked tokens. It follows from the positions of the masked tokens, so that a batch needs
no further targets, and held-out samples with other masks have spans too.

Shapes: T tokens, M masked tokens, H hidden_size.
"""

import math
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.data.batch import Batch
from pipeline.data.labels import IGNORED
from pipeline.kernels.rows import embedding
from pipeline.losses.cross_entropy import RowSum
from pipeline.model.config import EncoderConfig
from pipeline.model.heads import SpanBoundaryHead
from pipeline.model.initialization import initialize_weights
from pipeline.model.output import Output
from pipeline.model.pretraining import MaskedLanguageModel
from pipeline.runlog.terms import Term


class Boundaries(NamedTuple):
    """The span of each masked token."""

    before: Tensor
    """(M,) index of the token before the span."""
    after: Tensor
    """(M,) index of the token behind the span."""
    places: Tensor
    """(M,) place of the masked token in the span, from 0."""


def boundaries(positions: Tensor, labels: Tensor, num_tokens: int) -> Boundaries:
    """Return the span of each masked token, without asking the device for a value.

    Args:
        positions: (M,) indices of the masked tokens, ascending but for padding at the end. No sample begins or ends
            with a masked token, so that a span lies within a sample.
        labels: (M,) original tokens, IGNORED in the padding, whose indices are arbitrary valid ones.
        num_tokens: T.
    """
    apart = num_tokens + 2 * torch.arange(len(positions), device=positions.device)
    indices = torch.where(labels == IGNORED, apart, positions)  # ascending; each entry of the padding is a span
    breaks, edge = indices.diff() != 1, labels.new_ones(1, dtype=torch.bool)
    first = torch.where(torch.cat([edge, breaks]), indices, 0).cummax(0).values
    last = torch.where(torch.cat([breaks, edge]), indices, indices[-1:]).flip(0).cummin(0).values.flip(0)
    before, after = (first - 1).clamp(0, num_tokens - 1), (last + 1).clamp(max=num_tokens - 1)
    return Boundaries(before, after, indices - first)


class SpanModel(MaskedLanguageModel):
    """Encoder, masked-token head and span boundary head.

    Args:
        config: shape and regularisation.
        vocab_size: number of tokens in the tokenizer.
        masked: term of the masked tokens, predicted from their own hidden states.
        boundary: term of the masked tokens, predicted from the boundaries of their span.
        positions: number of positions in a span that have embeddings of their own; tokens behind them have the last.
        width: width of these embeddings.
        num_segments: number of segment embeddings; 0: the model ignores segment ids.
        cut: initial weights are drawn from a normal distribution cut at this many standard deviations.
    """

    def __init__(
        self,
        config: EncoderConfig,
        vocab_size: int,
        masked: Term,
        boundary: Term,
        positions: int,
        width: int,
        num_segments: int = 0,
        cut: float = math.inf,
    ) -> None:
        super().__init__(config, vocab_size, masked, None, num_segments, cut)
        self.boundary, self.positions = boundary, positions
        word, std = self.encoder.embeddings.word, config.initializer_range
        self.span_head = SpanBoundaryHead(config, word, positions, width)
        self.span_head.apply(partial(initialize_weights, std=std, cut=cut))

    def forward(self, batch: Batch) -> Output:
        """Returns the losses of one micro-batch."""
        hidden, labels = self.hidden(batch), batch.targets["labels"]
        rows = hidden.index_select(0, batch.targets["positions"])  # (M, H)
        found: dict[str, RowSum] = {
            self.masked.name: self.mlm_head(rows, labels),
            self.boundary.name: self.from_boundaries(hidden, batch.targets["positions"], labels),
        }
        return self.output(batch, [self.masked, self.boundary], found, rows, hidden)

    def from_boundaries(self, hidden: Tensor, positions: Tensor, labels: Tensor) -> RowSum:
        """Returns the loss of masked tokens, predicted from the boundaries of their spans.

        Args:
            hidden: (T, H).
            positions, labels: (M,) as in `boundaries`.
        """
        spans = boundaries(positions, labels, len(hidden))
        places = spans.places.clamp(max=self.positions - 1)
        # The tokens of a span share these rows; `embedding` adds up their gradients in a fixed order.
        found: RowSum = self.span_head(embedding(spans.before, hidden), embedding(spans.after, hidden), places, labels)
        return found
