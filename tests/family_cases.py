"""Comparisons of a family with its class in `transformers`, which the tests of all families share."""

from dataclasses import fields

import torch

TOLERANCE = 1e-5
"""Law 7, fp32."""
LOGITS = ("logits", "prediction_logits", "sop_logits", "seq_relationship_logits")
"""Outputs of classes of `transformers` for pre-training, those of masked tokens first."""


def with_other_weights(model):
    """Return a model with weights that differ from those of all models that were drawn alike."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.9)
    return model


def assert_equal(found, expected):
    """Require hidden states and logits of both sides to agree, and to be large enough for this to mean anything."""
    for ours, theirs in zip(found, expected, strict=True):
        assert theirs.std() > 0.3, "values too small for the comparison to mean anything"
        assert (ours - theirs).abs().max() <= TOLERANCE


def assert_fields_return(config, own, settings_class, config_to, config_from):
    """Require all fields of a configuration to return from the class's, and all but `own` to differ from the defaults.

    Args:
        config: the configuration.
        own: names of fields that the class's configuration does not have.
        settings_class: configuration of the class in `transformers`.
        config_to, config_from: translations of the family.
    """
    default = type(config)(hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4)
    unchanged = {f.name for f in fields(config) if getattr(config, f.name) == getattr(default, f.name)}
    assert unchanged == set(own), "give the new field another value here"
    assert config_from(settings_class(**config_to(config, 97)).to_dict()) == config


def huggingface_outputs(model, batch):
    """Return the last hidden states (T, H), logits (T, V) and, of a class with pairs, logits (B, 2) of Hugging Face."""
    lengths = batch.cu_seqlens.diff().tolist()
    inputs = {
        name: torch.nn.utils.rnn.pad_sequence(values.split(lengths), batch_first=True)
        for name, values in (("input_ids", batch.input_ids), ("token_type_ids", batch.segment_ids))
    }
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    out = model(**inputs, attention_mask=mask.long(), output_hidden_states=True)
    hidden, (logits, *pairs) = out.hidden_states[-1], [out[name] for name in LOGITS if name in out]
    return hidden[mask], logits[mask], *pairs


def our_outputs(model, batch):
    """Return the same of a model of this project."""
    hidden, rows = model.hidden(batch), torch.arange(len(batch.input_ids))
    pairs = [] if model.pair is None else [model.pair_logits(hidden, batch)]
    return hidden, model.logits(batch, rows), *pairs
