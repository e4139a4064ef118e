"""The pre-training model of ELECTRA: a generator proposes tokens, and an encoder detects those that were replaced.

Generator and discriminator share the embeddings and are otherwise separate. Tokens are sampled from the generator
without gradients, so that the generator learns from its masked tokens alone. Source: Clark et al. 2020
(https://arxiv.org/abs/2003.10555), section 3; google-research/electra, run_pretraining.py.

Shapes: T tokens, M masked tokens, H hidden_size.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.batch import Batch
from pipeline.data.labels import IGNORED
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
        rows = self.generated(batch).index_select(0, batch.targets["positions"])  # (M, H of the generator)

        def detect(tokens: Tensor) -> Tensor:
            return self.detection_head(self.hidden(batch, tokens))

        return replaced_token_output(batch, self.masked, self.replaced, rows, self.generator_head, detect)

    def generated(self, batch: Batch) -> Tensor:
        """Returns the hidden states (T, H) of the generator's last layer."""
        embedded = self.encoder.embeddings(batch.input_ids, batch.segment_ids, batch.position_ids)
        out: Tensor = self.generator(embedded, batch.cu_seqlens, batch.max_seqlen)
        return out


def replaced_token_output(
    batch: Batch, masked: Term, replaced: Term, rows: Tensor, head: MaskedLMHead, detect: Callable[[Tensor], Tensor]
) -> Output:
    """Return the losses of a generator and of a discriminator that reads the tokens that it samples.

    Args:
        batch: the micro-batch, with a random number for each masked token.
        masked: term of the masked tokens.
        replaced: term of the replaced tokens.
        rows: (M, H) states of the generator from which masked tokens are predicted.
        head: the generator's head.
        detect: tokens (T,) -> logits (T,) of having been replaced.
    """
    positions, labels = batch.targets["positions"], batch.targets["labels"]
    found = {masked.name: head(rows, labels)}
    with torch.no_grad():
        sampled = head(rows.detach(), uniform=batch.targets["uniform"])  # (M,)
    # Numbers of real tokens are read on the device: a CUDA graph serves many batches. What is sampled for padding is
    # written behind the last token, and cut off.
    size = len(batch.input_ids)
    places = torch.where(labels == IGNORED, size, positions)  # (M,)
    inputs = functional.pad(batch.input_ids, (0, 1)).index_copy(0, places, sampled)[:size]
    differs = labels.new_zeros(size + 1, dtype=torch.bool).index_copy(0, places, sampled != labels)[:size]
    real = torch.arange(size, device=labels.device) < batch.cu_seqlens[batch.num_samples]  # (T,)
    found[replaced.name] = binary_cross_entropy_sum(detect(inputs), differs, real)
    return combined([masked, replaced], found, batch.totals)
