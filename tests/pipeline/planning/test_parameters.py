"""Numbers of weights are those of the models that are trained, and a teacher is counted apart."""

from dataclasses import replace

import pytest
import torch

from pipeline.config import parse
from pipeline.families import get_family
from pipeline.planning.parameters import count_matrices, count_parameters
from pipeline.runtime.recipes import find

MINI = [f"{family}_mini" for family in ("albert", "bert", "deberta", "distilbert", "electra", "roberta", "spanbert")]


@pytest.mark.parametrize("recipe", [*MINI, "deberta_v3_base"])
def test_weights_are_counted_on_the_model(recipe):
    """The number of weights, and that of the matrices of layers, are those of the model, also where the generator has
    half as many layers; the pieces add up to it.
    """
    parsed = parse(["--recipe", str(find(recipe))])
    config, family = parsed.model, get_family(parsed.family).of(parsed.model)
    with torch.device("meta"):
        named = dict(family.build(config, 1000).named_parameters())
    found = count_parameters(family.measured(config), config, 1000)
    assert found.total == sum(found.pieces) == sum(parameter.numel() for parameter in named.values())
    matrices = count_matrices(family.measured(config), config, 1000, family.parameters.is_matrix)
    assert matrices == sum(p.numel() for name, p in named.items() if family.parameters.is_matrix(name))


def test_a_teacher_is_counted_apart():
    """A teacher that does not exist yet is assumed to have twice as many layers; only a student with one has it."""
    config = parse(["--recipe", str(find("distilbert_mini"))]).model
    student, alone = (replace(config, teacher=teacher) for teacher in ("nowhere", ""))
    form = get_family("distilbert").of(student)
    found = count_parameters(form.measured(student), student, 1000)
    assert found.auxiliary == found.total + 2 * found.layer
    assert "model.teacher = nowhere does not exist yet; assumed: 4 layers" in form.auxiliary(student).assumed
    assert get_family("distilbert").of(alone).auxiliary(alone) is None
