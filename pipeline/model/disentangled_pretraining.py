"""The pre-training models of DeBERTa: masked tokens, and replaced tokens as in version 3.

In version 3 the discriminator embeds a word as stop_gradient(G) + D: G is the embedding of the generator, and D a
difference that begins with zeros. The loss of the discriminator therefore trains D alone, and that of the generator G
("gradient-disentangled embedding sharing"). The model has D where an encoder has its word embeddings, and an export
writes the sum. Source: He et al. 2021, DeBERTaV3 (https://arxiv.org/abs/2111.09543), section 3; microsoft/DeBERTa,
apps/tasks/rtd_task.py. There, generator and discriminator take separate steps, so that a token is sampled from the
generator behind its step; here, they take one step together, as in ELECTRA.

Shapes: T tokens, B sequences, M masked tokens, R rows, H hidden_size, V vocab_size.
"""

from functools import partial

import torch
from torch import Tensor, nn

from pipeline.data.batch import Batch
from pipeline.kernels.rows import LayerNorm, embedding
from pipeline.model.config import DisentangledConfig, EncoderConfig
from pipeline.model.disentangled import DisentangledEncoder, MaskDecoder
from pipeline.model.encoder import ACTIVATIONS
from pipeline.model.heads import MaskedLMHead
from pipeline.model.initialization import initialize_weights
from pipeline.model.output import Output
from pipeline.model.pretraining import MaskedTokenModel
from pipeline.model.relative_initialization import initialize_relative_positions
from pipeline.model.replaced import replaced_token_output
from pipeline.runlog.terms import Term


class MaskedDisentangledModel(MaskedTokenModel):
    """Encoder and masked-token head, with the enhanced mask decoder between them if it is wanted.

    Args:
        config: shape and regularisation.
        vocab_size: V, number of tokens in the tokenizer.
        masked: term of the masked tokens.
        decodes: whether there is a mask decoder.
    """

    def __init__(self, config: DisentangledConfig, vocab_size: int, masked: Term, decodes: bool) -> None:
        super().__init__(masked)
        self.encoder = DisentangledEncoder(config, vocab_size)
        self.mask_decoder = MaskDecoder(config) if decodes else None
        self.mlm_head = MaskedLMHead(config, self.encoder.embeddings.word)
        self.apply(partial(initialize_weights, std=config.initializer_range))
        if config.initialization == "positions":
            initialize_relative_positions(self.encoder)

    def decoded(self, batch: Batch, rows: Tensor) -> Tensor:
        """Returns the states (R, H) of the tokens with indices `rows` (R,) from which the head predicts them."""
        if self.mask_decoder is None:
            return super().decoded(batch, rows)
        return decode(self.mask_decoder, self.encoder, batch, rows)

    def hidden_and_decoded(self, batch: Batch, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what `hidden` and `decoded` return; with a mask decoder, all layers but the last one run twice."""
        if self.mask_decoder is None:
            return super().hidden_and_decoded(batch, rows)
        return self.hidden(batch), self.decoded(batch, rows)


def decode(decoder: MaskDecoder, encoder: DisentangledEncoder, batch: Batch, rows: Tensor) -> Tensor:
    """Return the states (R, H) that a mask decoder computes of the tokens with indices `rows` (R,)."""
    embedded = encoder.embeddings(batch.input_ids)
    out: Tensor = decoder(encoder, embedded, batch.position_ids, batch.cu_seqlens, batch.max_seqlen, rows)
    return out


class ContextDetectionHead(nn.Module):
    """Logit of each token for having been replaced, from its hidden state and that of its sequence's first token.

    Source: microsoft/DeBERTa, the module `mask_predictions` of replaced-token detection.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.layer_norm = LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = ACTIVATIONS[config.hidden_act]
        self.classifier = nn.Linear(config.hidden_size, 1)

    def forward(self, hidden: Tensor, cu_seqlens: Tensor) -> Tensor:
        """Takes hidden states (T, H) and the bounds of their sequences (B + 1,), returns logits (T,)."""
        lengths = cu_seqlens.diff().long()
        first = cu_seqlens[:-1].long().repeat_interleave(lengths, output_size=len(hidden))  # (T,)
        # Gradients of a first token are added by the backward pass of an embedding, in a fixed order on any device.
        states = self.layer_norm(embedding(first, hidden) + hidden)
        return self.classifier(self.activation(self.dense(states))).squeeze(1)


class DisentangledDiscriminator(nn.Module):
    """An encoder with a head that detects replaced tokens.

    Args:
        config: shape and regularisation.
        vocab_size: V, number of tokens in the tokenizer.
    """

    def __init__(self, config: DisentangledConfig, vocab_size: int) -> None:
        super().__init__()
        self.encoder = DisentangledEncoder(config, vocab_size)
        self.detection_head = ContextDetectionHead(config)

    def forward(self, batch: Batch) -> Tensor:
        """Returns the logits (T,) of the tokens for having been replaced."""
        return self.detected(batch, self.encoder.embeddings(batch.input_ids))

    def detected(self, batch: Batch, embedded: Tensor) -> Tensor:
        """Returns the same for embedded tokens (T, H)."""
        hidden = self.encoder.encoded(embedded, batch.cu_seqlens, batch.max_seqlen)
        logits: Tensor = self.detection_head(hidden, batch.cu_seqlens)
        return logits


class ReplacedDisentangledModel(DisentangledDiscriminator):
    """Generator with mask decoder and discriminator, trained together.

    Args:
        config: shape and regularisation of the discriminator.
        generator: those of the generator, which is as wide.
        vocab_size: V, number of tokens in the tokenizer.
        masked: term of the masked tokens.
        replaced: term of the replaced tokens.
    """

    def __init__(
        self, config: DisentangledConfig, generator: DisentangledConfig, vocab_size: int, masked: Term, replaced: Term
    ) -> None:
        super().__init__(config, vocab_size)
        self.masked, self.replaced = masked, replaced
        self.generator = DisentangledEncoder(generator, vocab_size)
        self.mask_decoder = MaskDecoder(generator)
        self.generator_head = MaskedLMHead(generator, self.generator.embeddings.word)
        self.apply(partial(initialize_weights, std=config.initializer_range))
        nn.init.zeros_(self.encoder.embeddings.word.weight)
        if config.initialization == "positions":
            initialize_relative_positions(self.encoder)
            initialize_relative_positions(self.generator)

    def forward(self, batch: Batch) -> Output:  # type: ignore[override]
        """Returns the losses of one micro-batch."""
        rows = decode(self.mask_decoder, self.generator, batch, batch.targets["positions"])

        def detect(tokens: Tensor) -> Tensor:
            return self.detected(batch, self.embedded(tokens))

        return replaced_token_output(batch, self.masked, self.replaced, rows, self.generator_head, detect)

    def embedded(self, tokens: Tensor) -> Tensor:
        """Returns the discriminator's embeddings (T, H) of tokens (T,), without a gradient of the generator's."""
        with torch.no_grad():
            shared = self.generator.embeddings.word(tokens)
        out: Tensor = self.encoder.embeddings(tokens, shared)
        return out
