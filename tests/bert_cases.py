"""Small models of BERT with large weights, and batches for them."""

from dataclasses import replace

import numpy as np
import torch
import transformers

from pipeline.data.batch import Batch
from pipeline.families.bert import BertConfig, config_to
from pipeline.families.bert import build as build_model

VOCAB_SIZE = 97
CONFIG = BertConfig(hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=80)
LENGTHS = [7, 64, 33, 12, 64]


def make_batch(lengths=LENGTHS, seed=0):
    """Return a batch of random tokens, about a sixth of them masked."""
    rng = np.random.default_rng(seed)
    num_tokens = sum(lengths)
    masked = np.sort(rng.choice(num_tokens, max(1, num_tokens // 6), replace=False))
    starts = [0, *np.cumsum(lengths)]
    counts = {"samples": len(lengths), "tokens": num_tokens, "masked": len(masked)}
    # Token 0 is [PAD], which never occurs in text and gets no gradient in Hugging Face's embedding.
    return Batch(
        input_ids=torch.from_numpy(rng.integers(1, VOCAB_SIZE, num_tokens)),
        segment_ids=torch.from_numpy(rng.integers(0, 2, num_tokens)),
        position_ids=torch.cat([torch.arange(length) for length in lengths]),
        cu_seqlens=torch.tensor(starts, dtype=torch.int32),
        max_seqlen=max(lengths),
        targets={
            "positions": torch.from_numpy(masked),
            "labels": torch.from_numpy(rng.integers(0, VOCAB_SIZE, len(masked))),
            "pair": torch.from_numpy(rng.integers(0, 2, len(lengths))),
        },
        counts=counts,
        totals=counts,
        sample_ids=np.arange(len(lengths)),
        epochs=np.zeros(len(lengths), np.int64),
        group=0,
    )


def divided(batch, first):
    """Return the first samples of a batch without segments, and the others, as two micro-batches of it."""
    at, positions = int(batch.cu_seqlens[first]), batch.targets["positions"]
    masked = int((positions < at).sum())
    parts = []
    for tokens, rows, samples in (
        (slice(0, at), slice(0, masked), slice(0, first)),
        (slice(at, None), slice(masked, None), slice(first, None)),
    ):
        lengths = batch.lengths[samples]
        parts.append(
            replace(
                batch,
                input_ids=batch.input_ids[tokens],
                segment_ids=None if batch.segment_ids is None else batch.segment_ids[tokens],
                position_ids=batch.position_ids[tokens],
                cu_seqlens=torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]).int(),
                targets={
                    "positions": positions[rows] - tokens.start,
                    "labels": batch.targets["labels"][rows],
                },
                sample_ids=batch.sample_ids[samples],
                epochs=batch.epochs[samples],
            )
        )
    return parts


def with_large_weights(model):
    """Draw every parameter anew and large, so that logits are about 1 and a missing bias or
    normalisation is noticed.
    """
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator) + (parameter.dim() == 1))
    return model.eval()


def build(config=CONFIG):
    return with_large_weights(build_model(config, VOCAB_SIZE))


def build_huggingface(config=CONFIG):
    settings = transformers.BertConfig(**config_to(config, VOCAB_SIZE))
    return with_large_weights(transformers.BertForPreTraining(settings))
