"""Numbers of weights are those of the models that are trained, and a teacher is counted apart."""

from dataclasses import replace

import pytest
import torch
from deberta_cases import REPLACED

from pipeline.families import get_family
from pipeline.families.deberta import FAMILY
from pipeline.families.distilbert import DistilBertConfig
from pipeline.planning.parameters import count_matrices, count_parameters


@pytest.mark.parametrize("layers", [1, 6, 7])
def test_layers_of_a_generator_with_half_as_many_are_counted(layers):
    """The numbers of all weights and of the matrices of layers are those of the model, and the pieces add up."""
    config, form = replace(REPLACED, num_hidden_layers=layers), FAMILY.of(REPLACED)
    with torch.device("meta"):
        named = dict(form.build(config, 90).named_parameters())
    found = count_parameters(form.build, config, 90)
    assert found.total == sum(found.pieces) == sum(parameter.numel() for parameter in named.values())
    is_matrix = form.parameters.is_matrix
    matrices = sum(parameter.numel() for name, parameter in named.items() if is_matrix(name))
    assert count_matrices(form.build, config, 90, is_matrix) == matrices
    assert matrices == (layers + max(1, layers // 2)) * (4 * 48**2 + 2 * 48 * 80)


def test_a_teacher_is_counted_apart():
    """A teacher that does not exist yet is assumed to have twice as many layers; without one there is none to count."""
    alone = DistilBertConfig(hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32)
    taught = replace(alone, teacher="nowhere")
    form, found = get_family("distilbert").of(taught), []
    for config in (alone, taught):
        found.append(count_parameters(get_family("distilbert").of(config).measured(config), config, 90))
    assert found[0].auxiliary == 0 and found[0].total == found[1].total
    assert found[1].auxiliary == found[1].total + 3 * found[1].layer
    assert form.auxiliary(taught).assumed.startswith("model.teacher = nowhere does not exist yet; assumed: 6 layers")
