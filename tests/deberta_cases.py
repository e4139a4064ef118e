"""Small models of DeBERTa with large weights, and batches for them."""

from dataclasses import replace

import torch
import transformers
from bert_cases import VOCAB_SIZE, make_batch, with_large_weights

from pipeline.families.deberta import DebertaConfig, build
from pipeline.families.deberta.export import config_to

CONFIG = DebertaConfig(
    hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=80, position_buckets=16
)
PLAIN = replace(CONFIG, objective="masked_plain")
REPLACED = replace(CONFIG, objective="replaced")


def deberta_batch(**options):
    """Return a batch with a random number for each masked token, and no segments."""
    batch = make_batch(**options)
    numbers = torch.rand(batch.counts["masked"], generator=torch.Generator().manual_seed(5))
    return replace(batch, segment_ids=None, targets=batch.targets | {"uniform": numbers})


def built(config=CONFIG):
    return with_large_weights(build(config, VOCAB_SIZE))


def huggingface_of(config, model_class="DebertaV2ForMaskedLM"):
    settings = transformers.DebertaV2Config(**config_to(config, VOCAB_SIZE))
    return with_large_weights(getattr(transformers, model_class)(settings))


def decoded(theirs, positions, inputs):
    """Return the logits (B, longest, V) of the mask decoder, computed with the layers of Hugging Face's model.

    Args:
        theirs: `DebertaV2ForMaskedLM`.
        positions: embeddings (P, H) of the positions in the decoder.
        inputs: arguments of the model.
    """
    encoder = theirs.deberta.encoder
    states = theirs.deberta(**inputs | {"output_hidden_states": True}).hidden_states[-2]
    queries = states + positions[: states.shape[1]]
    for _ in range(2):
        queries = encoder.layer[-1](
            states,
            encoder.get_attention_mask(inputs["attention_mask"]),
            query_states=queries,
            relative_pos=encoder.get_rel_pos(states),
            rel_embeddings=encoder.get_rel_embedding(),
        )[0]
    return theirs.cls(queries)
