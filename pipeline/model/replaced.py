"""The pre-training model of ELECTRA: a generator proposes tokens, and an encoder detects those that were replaced.

Generator and discriminator share the embeddings and are otherwise separate. Tokens are sampled from the generator
without gradients, so that the generator learns from its masked tokens alone. Source: Clark et al. 2020
(https://arxiv.org/abs/2003.10555), section 3; google-research/electra, run_pretraining.py.

Shapes: T tokens, M masked tokens, H hidden_size.
"""

import math
from functools import partial

import torch
from torch import Tensor, nn

from pipeline.data.batch import Batch
from pipeline.losses.binary import binary_cross_entropy_sum
from pipeline.model.config import EncoderConfig
from pipeline.model.encoder import Encoder, Stack
from pipeline.model.heads import DetectionHead, MaskedLMHead
from pipeline.model.initialization import initialize_positions, initialize_weights
from pipeline.model.output import Output, combined
from pipeline.runlog.terms import Term


class Discriminator(nn.Module):
    """An encoder with a head that detects replaced tokens.

    Args:
        config: shape and regularisation.
        vocab_size: number of tokens in the tokenizer.
        num_segments: number of segment embeddings; 0: the model ignores segment ids.
    """

    def __init__(self, config: EncoderConfig, vocab_size: int, num_segments: int) -> None:
        super().__init__()
        self.encoder = Encoder(config, vocab_size, num_segments)
        self.detection_head = DetectionHead(config)

    def hidden(self, batch: Batch, input_ids: Tensor | None = None) -> Tensor:
        """Returns the hidden states (T, H) of the last layer, of other tokens than the batch's if they are given."""
        tokens = batch.input_ids if input_ids is None else input_ids
        out: Tensor = self.encoder(tokens, batch.segment_ids, batch.position_ids, batch.cu_seqlens, batch.max_seqlen)
        return out

    def forward(self, batch: Batch) -> Tensor:
        """Returns the logits (T,) of the tokens for having been replaced."""
        logits: Tensor = self.detection_head(self.hidden(batch))
        return logits


class ReplacedTokenModel(Discriminator):
    """Generator and discriminator, trained together.

    Args:
        config: shape and regularisation of the discriminator.
        generator: those of the generator, with embeddings of the same width.
        vocab_size: number of tokens in the tokenizer.
        masked: term of the masked tokens.
        replaced: term of the replaced tokens.
        num_segments: number of segment embeddings; 0: the model ignores segment ids.
        cut: initial weights are drawn from a normal distribution cut at this many standard deviations.
    """

    def __init__(
        self,
        config: EncoderConfig,
        generator: EncoderConfig,
        vocab_size: int,
        masked: Term,
        replaced: Term,
        num_segments: int = 0,
        cut: float = math.inf,
    ) -> None:
        super().__init__(config, vocab_size, num_segments)
        self.masked, self.replaced = masked, replaced
        self.generator = Stack(generator)
        self.generator_head = MaskedLMHead(generator, self.encoder.embeddings.word)
        self.apply(partial(initialize_weights, std=config.initializer_range, cut=cut))
        if config.initialization == "positions":
            initialize_positions(self.encoder, self.generator)

    def forward(self, batch: Batch) -> Output:  # type: ignore[override]
        """Returns the losses of one micro-batch."""
        positions, labels = batch.targets["positions"], batch.targets["labels"]
        rows = self.generated(batch).index_select(0, positions)  # (M, H of the generator)
        found = {self.masked.name: self.generator_head(rows, labels)}
        # Padding, if there is any, is behind the real tokens and masked rows.
        masked, tokens = batch.counts["masked"], batch.counts["tokens"]
        real, originals = positions[:masked], labels[:masked]
        with torch.no_grad():
            sampled = self.generator_head(rows.detach()[:masked], uniform=batch.targets["uniform"])  # (M,)
        replaced = batch.input_ids.index_copy(0, real, sampled)
        differs = torch.zeros_like(replaced, dtype=torch.bool).index_copy(0, real, sampled != originals)
        logits = self.detection_head(self.hidden(batch, replaced)[:tokens])  # (T,)
        found[self.replaced.name] = binary_cross_entropy_sum(logits, differs[:tokens])
        return combined([self.masked, self.replaced], found, batch.totals)

    def generated(self, batch: Batch) -> Tensor:
        """Returns the hidden states (T, H) of the generator's last layer."""
        embedded = self.encoder.embeddings(batch.input_ids, batch.segment_ids, batch.position_ids)
        out: Tensor = self.generator(embedded, batch.cu_seqlens, batch.max_seqlen)
        return out
