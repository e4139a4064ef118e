"""Laws of pipeline/conversion/parts.py."""

from dataclasses import replace

import pytest
import torch
from electra_cases import CONFIG, built, huggingface_of

from pipeline.conversion.names import from_huggingface
from pipeline.conversion.parts import ModelPart, divide, join
from pipeline.families import get_family
from pipeline.families.electra import FAMILY, config_from, joined


def test_joining_is_the_inverse_of_dividing():
    """A model is joined of its parts as it was, with the tied parameters stored once."""
    state = built().state_dict()
    back = join(FAMILY, divide(FAMILY, CONFIG, state))
    assert back.config == CONFIG and back.state_dict.keys() == state.keys()
    assert all(torch.equal(back.state_dict[name], value) for name, value in state.items())
    tied = [back.state_dict[name] for name in ("encoder.embeddings.word.weight", "generator_head.decoder.weight")]
    assert tied[0].data_ptr() == tied[1].data_ptr()


def test_a_family_without_parts_is_one():
    """The model of such a family is its only part."""
    family, state = get_family("bert"), {"a": torch.zeros(1)}
    (part,) = divide(family, CONFIG, state)
    assert part.family is family and part.state_dict is state and join(family, [part]) is part


def test_a_parameter_of_no_part_is_named():
    """A parameter that no part has is an error that names it."""
    with pytest.raises(ValueError, match=r"unknown other\.weight"):
        divide(FAMILY, CONFIG, {"other.weight": torch.zeros(1)})


def test_parts_that_do_not_belong_together_are_refused():
    """Another shape or other embeddings of the generator are errors that name the difference."""
    theirs = huggingface_of(CONFIG, shared=False)
    parts = [
        ModelPart(part.directory, part.family, config_from(model.config.to_dict()), found)
        for part, model in zip(FAMILY.parts, theirs, strict=True)
        for found in (from_huggingface(part.family, model.state_dict()),)
    ]
    changed = {**parts[1].state_dict, "encoder.embeddings.position.weight": torch.zeros(512, 20)}
    with pytest.raises(ValueError, match=r"generator: encoder.embeddings.position.weight differs from that"):
        join(FAMILY, [parts[0], replace(parts[1], state_dict=changed)])
    with pytest.raises(ValueError, match=r"generator: num_hidden_layers = 2: must be 3 beside an encoder"):
        joined((CONFIG, replace(CONFIG.generator, num_hidden_layers=2)))
