"""The pre-training models with a masked-token head: BERT and RoBERTa, with a classifier of pairs for BERT, and what
they share with those of other encoders.

Shapes: T tokens, B sequences, M masked tokens, R rows, H hidden_size, V vocab_size.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from pipeline.data.batch import Batch
from pipeline.losses.cross_entropy import RowSum, cross_entropy_sum
from pipeline.model.config import EncoderConfig
from pipeline.model.encoder import Encoder
from pipeline.model.heads import MaskedLMHead, Pooler
from pipeline.model.initialization import initialize_positions, initialize_weights
from pipeline.model.output import Output, combined
from pipeline.model.teacher import Teacher
from pipeline.runlog.terms import Term


class MaskedTokenModel(nn.Module):
    """An encoder and a head that predicts masked tokens; a subclass makes both.

    With a teacher, which is no module and set by `Family.prepare`, it also learns the teacher's outputs.

    Args:
        masked: term of the masked tokens.
    """

    encoder: Any
    mlm_head: MaskedLMHead

    def __init__(self, masked: Term) -> None:
        super().__init__()
        self.masked = masked
        self.teacher: Teacher | None = None

    def forward(self, batch: Batch) -> Output:
        """Returns the losses of one micro-batch."""
        places, hidden = batch.targets["positions"], None
        if self.teacher is not None and self.teacher.states is not None:
            hidden, rows = self.hidden_and_decoded(batch, places)
        else:
            rows = self.decoded(batch, places)
        found: dict[str, RowSum] = {self.masked.name: self.mlm_head(rows, batch.targets["labels"])}
        return self.output(batch, [self.masked], found, rows, hidden)

    def output(
        self, batch: Batch, terms: Sequence[Term], found: Mapping[str, RowSum], rows: Tensor, hidden: Tensor | None
    ) -> Output:
        """Returns the output of a forward pass, with the terms of the teacher if there is one.

        Args:
            batch: the micro-batch.
            terms: terms of the loss without a teacher.
            found: sums of these terms by name.
            rows: (M, H) states from which the head predicts the masked tokens.
            hidden: (T, H) hidden states of the last layer; None is possible if no teacher's are compared with them.
        """
        if self.teacher is None:
            return combined(terms, found, batch.totals)
        found = {**found, **self.teacher.found(self.mlm_head, batch, rows, hidden)}
        return combined(self.teacher.terms, found, batch.totals)

    def logits(self, batch: Batch, rows: Tensor) -> Tensor:
        """Returns the logits (R, V) over the vocabulary of the tokens with indices `rows` (R,)."""
        out: Tensor = self.mlm_head(self.decoded(batch, rows))
        return out

    def decoded(self, batch: Batch, rows: Tensor) -> Tensor:
        """Returns the states (R, H) of the tokens with indices `rows` (R,) from which the head predicts them."""
        return self.hidden(batch).index_select(0, rows)

    def hidden_and_decoded(self, batch: Batch, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what `hidden` and `decoded` return."""
        hidden = self.hidden(batch)
        return hidden, hidden.index_select(0, rows)

    def hidden(self, batch: Batch) -> Tensor:
        """Returns the hidden states (T, H) of the last layer."""
        out: Tensor = self.encoder(
            batch.input_ids, batch.segment_ids, batch.position_ids, batch.cu_seqlens, batch.max_seqlen
        )
        return out


class MaskedLanguageModel(MaskedTokenModel):
    """Encoder with absolute positions and masked-token head; with a term for pairs, also pooler and classifier of
    pairs.

    Args:
        config: shape and regularisation.
        vocab_size: V, number of tokens in the tokenizer.
        masked: term of the masked tokens.
        pair: term of the pairs of segments; None if samples have no label.
        num_segments: number of segment embeddings; 0: the model ignores segment ids.
        cut: initial weights are drawn from a normal distribution cut at this many standard deviations.
        encoder: makes the encoder from `config`, `vocab_size` and `num_segments`.
    """

    def __init__(
        self,
        config: EncoderConfig,
        vocab_size: int,
        masked: Term,
        pair: Term | None = None,
        num_segments: int = 0,
        cut: float = math.inf,
        encoder: Callable[[EncoderConfig, int, int], Encoder] = Encoder,
    ) -> None:
        super().__init__(masked)
        self.kernels, self.pair = config.kernels, pair
        self.encoder = encoder(config, vocab_size, num_segments)
        if pair is not None:
            self.pooler = Pooler(config.hidden_size)
        self.mlm_head = MaskedLMHead(config, self.encoder.embeddings.word)
        if pair is not None:
            self.pair_head = nn.Linear(config.hidden_size, 2)
        self.apply(partial(initialize_weights, std=config.initializer_range, cut=cut))
        if config.initialization == "positions":
            initialize_positions(self.encoder)

    def forward(self, batch: Batch) -> Output:
        """Returns the losses of one micro-batch."""
        hidden = self.hidden(batch)
        rows = hidden.index_select(0, batch.targets["positions"])  # (M, H)
        found: dict[str, RowSum] = {self.masked.name: self.mlm_head(rows, batch.targets["labels"])}
        terms = [self.masked]
        if self.pair is not None:
            logits = self.pair_logits(hidden, batch)
            found[self.pair.name] = cross_entropy_sum(logits, batch.targets["pair"], self.kernels)
            terms.append(self.pair)
        return self.output(batch, terms, found, rows, hidden)

    def pair_logits(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Returns the logits (B, 2) of the pairs of segments from hidden states (T, H)."""
        logits: Tensor = self.pair_head(self.pooler(hidden, batch.cu_seqlens[: batch.num_samples]))
        return logits
