"""Comparisons of a family with its class in `transformers`, which the tests of all families share."""

from dataclasses import fields

import torch

TOLERANCE = 1e-5
"""Law 7, fp32."""


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
