"""The pre-training model of ModernBERT: masked tokens."""

import math
from functools import partial

import torch

from pipeline.model.config import RotaryConfig
from pipeline.model.heads import MaskedLMHead
from pipeline.model.initialization import initialize_weights, scale_outputs
from pipeline.model.pretraining import MaskedTokenModel
from pipeline.model.relative_initialization import initialize_rotary_positions
from pipeline.model.rotary import RotaryEncoder
from pipeline.runlog.terms import Term


class MaskedRotaryModel(MaskedTokenModel):
    """Encoder with rotary positions and masked-token head.

    Initial weights are normally distributed, cut at some standard deviations. Those of products whose results are added
    to the residual stream of L layers, and of the head, have a standard deviation that is sqrt(2 L) times as small
    (`scale_outputs`). Source: `init_method: full_megatron` of AnswerDotAI/ModernBERT.

    Args:
        config: shape and regularisation.
        vocab_size: number of tokens in the tokenizer.
        masked: term of the masked tokens.
        cut: initial weights are drawn from a normal distribution cut at this many standard deviations.
    """

    def __init__(self, config: RotaryConfig, vocab_size: int, masked: Term, cut: float) -> None:
        super().__init__(masked)
        self.encoder = RotaryEncoder(config, vocab_size)
        self.mlm_head = MaskedLMHead(config, self.encoder.embeddings.word, bias=False)
        self.apply(partial(initialize_weights, std=config.initializer_range, cut=cut))
        shrink = 1 / math.sqrt(2 * config.num_hidden_layers)
        with torch.no_grad():
            self.mlm_head.dense.weight.mul_(shrink)
        scale_outputs(self.encoder.layers, shrink)
        if config.initialization == "positions":
            initialize_rotary_positions(self.encoder)
