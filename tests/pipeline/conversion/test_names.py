"""Parameters are renamed as a family's export declares."""

from types import SimpleNamespace

import pytest
import torch

from pipeline.conversion.names import from_huggingface, take, to_huggingface
from pipeline.families.base import Export


def family(**options):
    """A family whose layers have one stacked parameter each, and whose head is tied to an embedding."""

    def names(layers):
        stacked = {f"encoder.layers.{n}.stack": (f"layer.{n}.top", f"layer.{n}.bottom") for n in range(layers)}
        return {**stacked, "word": ("embedding",), "head": ("decoder",)}

    export = Export(
        "Model", names, config_to=None, config_from=None, ties={"head": "word"}, class_ties={"decoder": "embedding"}
    )
    return SimpleNamespace(name="toy", layer=".stack", export=SimpleNamespace(**(vars(export) | options)))


def state():
    word = torch.ones(3)
    stacks = {f"encoder.layers.{n}.stack": torch.arange(8.0).view(4, 2) + n for n in range(2)}
    return {**stacks, "word": word, "head": word}


def test_renaming_cuts_and_stacks():
    """A stacked parameter is divided along its first dimension, and stacked again in the same order."""
    renamed = to_huggingface(family(), state())
    assert torch.equal(renamed["layer.1.bottom"], state()["encoder.layers.1.stack"][2:])
    back = from_huggingface(family(), renamed)
    assert back.keys() == state().keys() and all(torch.equal(back[name], state()[name]) for name in back)


@pytest.mark.parametrize("absent", ["embedding", "decoder"])
def test_a_shared_tensor_may_have_either_name(absent):
    """Whichever of its two names a shared tensor was saved under, both parameters are found."""
    renamed = to_huggingface(family(), state())
    del renamed[absent]
    assert from_huggingface(family(), renamed).keys() == state().keys()


def test_shared_tensors_that_differ_are_refused():
    """Two different tensors for one shared parameter are an error."""
    renamed = to_huggingface(family(), state()) | {"decoder": torch.zeros(3)}
    with pytest.raises(ValueError, match="decoder differs from embedding, but the toy family has one tensor for both"):
        from_huggingface(family(), renamed)


def test_what_a_class_lacks_is_left_out_and_missing_afterwards():
    """A parameter without a counterpart in the class is not exported, and an import reports it as missing; a parameter
    that is tied to an exported one is found.
    """
    form = family(
        names=lambda layers: {**family().export.names(layers), "own": ("extra.own",), "tied": ("extra.tied",)},
        ties={"head": "word", "tied": "word"},
        class_ties={"decoder": "embedding", "extra.tied": "embedding"},
        unexported=("extra.",),
    )
    renamed = to_huggingface(form, state() | {"own": torch.ones(2)})
    assert renamed.keys() == to_huggingface(family(), state()).keys()
    taken = take(form, renamed)
    assert taken.missing == {"own": ["extra.own"]} and torch.equal(taken.parameters["tied"], state()["word"])


def test_renaming_names_the_first_strangers():
    """The error for unknown names lists a few of them and the number of the others."""
    strangers = {f"x{i}": torch.zeros(1) for i in range(7)}
    with pytest.raises(ValueError, match="missing head, word; unknown x0, x1, x2, x3, x4 and 2 more"):
        to_huggingface(family(), strangers)


def test_names_and_values_may_change_on_the_way():
    """Older names are read, buffers are left out, and a tensor that only one side has is added or removed."""
    changed = family(
        modern=lambda name: name.replace("gamma", "embedding"),
        ignored=("position_ids",),
        leaving=lambda tensors: {**tensors, "extra": torch.zeros(1)},
        arriving=lambda tensors: {name: value for name, value in tensors.items() if name != "extra"},
    )
    renamed = to_huggingface(changed, state())
    assert "extra" in renamed
    old = {name.replace("embedding", "gamma"): value for name, value in renamed.items()}
    assert from_huggingface(changed, old | {"position_ids": torch.zeros(4)}).keys() == state().keys()
