"""Floating-point operations of a training step."""

from pipeline.model.config import EncoderConfig
from pipeline.model.encoder import encoder_forward_flops


def training_flops(
    config: EncoderConfig,
    vocab_size: int,
    *,
    num_tokens: int,
    sum_squared_lengths: int,
    num_masked: int,
    num_samples: int,
) -> int:
    """Floating-point operations of forward and backward pass, counting real tokens and useful products only.

    Forward: the encoder's (`encoder_forward_flops`), plus 2H^2 + 2HV per masked token, plus 2H^2 for the pooler per
    sample. The backward pass counts twice the forward pass; recomputation under activation checkpointing counts
    nothing, being no use to the model. BERT-large with 128 tokens, 20 of them masked: 240.6e9 per sample.

    Args:
        config: the model's shape.
        vocab_size: V.
        num_tokens: sum of the sequence lengths, special tokens included.
        sum_squared_lengths: sum of their squares.
        num_masked: tokens that the masked-token head sees.
        num_samples: number of sequences.
    """
    dense = 2 * config.hidden_size**2
    decoder = 2 * config.hidden_size * vocab_size
    heads = num_masked * (dense + decoder) + num_samples * dense
    return 3 * (encoder_forward_flops(config, num_tokens, sum_squared_lengths) + heads)
