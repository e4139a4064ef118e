"""Classes of transformers take the parameters that they have."""

import pytest
import torch
import transformers

from pipeline.conversion import classes
from pipeline.families import get_family

FIELDS = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8, "vocab_size": 9}


def test_an_encoder_has_its_parameters_without_prefix():
    """The encoder takes `bert.NAME` as NAME, the parameters that it lacks are left out, and others are drawn."""
    pretrained = transformers.BertForMaskedLM(transformers.BertConfig(**FIELDS)).state_dict()
    found = classes.parameters_for("BertModel", FIELDS, pretrained, 0.5, seed=0)
    name = "encoder.layer.0.output.dense.weight"
    assert found.tensors[name] is pretrained[f"bert.{name}"]
    assert found.new == ("pooler.dense.weight", "pooler.dense.bias")
    assert found.left_out and all(name.startswith("cls.") for name in found.left_out)


def test_new_parameters_follow_from_the_seed():
    """New parameters depend on the seed alone, biases are 0, and torch's random numbers are not used."""
    pretrained = transformers.BertForMaskedLM(transformers.BertConfig(**FIELDS)).state_dict()
    before = torch.get_rng_state()
    found = [classes.parameters_for("BertModel", FIELDS, pretrained, 0.5, seed) for seed in (1, 1, 2)]
    one, same, other = (parameters.tensors for parameters in found)
    assert torch.equal(torch.get_rng_state(), before)
    name = "pooler.dense.weight"
    assert torch.equal(one[name], same[name]) and not torch.equal(one[name], other[name])
    assert 0.3 < one[name].std() < 0.7 and not one["pooler.dense.bias"].any()


def test_parameters_of_another_shape_do_not_fit():
    """A parameter of another shape is an error that names the class and the parameter."""
    with pytest.raises(ValueError, match=r"(?s)do not fit the bert configuration of BertModel.*pooler.dense.bias"):
        classes.assemble("BertModel", FIELDS, {"pooler.dense.bias": torch.zeros(3)})


def test_a_form_that_no_class_of_the_family_has_is_an_error(monkeypatch):
    """A family without a class of a form is an error that names the option."""
    monkeypatch.setattr(transformers, "MODEL_FOR_QUESTION_ANSWERING_MAPPING", {})
    with pytest.raises(ValueError, match="--as = question_answering: transformers has no such class for bert"):
        classes.class_of(get_family("bert").export, "question_answering")
