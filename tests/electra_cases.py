"""Small models of ELECTRA with large weights, and batches for them."""

from dataclasses import replace

import torch
import transformers
from bert_cases import VOCAB_SIZE, make_batch, with_large_weights

from pipeline.families.electra import ElectraConfig, build, config_to

CLASSES = ("ElectraForPreTraining", "ElectraForMaskedLM")
CONFIG = ElectraConfig(
    hidden_size=48,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=80,
    embedding_size=20,
    generator_fraction=0.5,
)


def electra_batch(**options):
    """Return a batch with a random number for each masked token."""
    batch = make_batch(**options)
    numbers = torch.rand(batch.counts["masked"], generator=torch.Generator().manual_seed(5))
    return replace(batch, targets=batch.targets | {"uniform": numbers})


def built(config=CONFIG):
    return with_large_weights(build(config, VOCAB_SIZE))


def huggingface_of(config, shared=True):
    """Return a random discriminator and generator, which share their embeddings."""
    models = [
        with_large_weights(getattr(transformers, name)(transformers.ElectraConfig(**config_to(each, VOCAB_SIZE))))
        for name, each in zip(CLASSES, (config, config.generator), strict=True)
    ]
    if shared:
        models[1].electra.embeddings.load_state_dict(models[0].electra.embeddings.state_dict())
    return models
