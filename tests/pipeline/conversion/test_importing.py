"""An imported model is a checkpoint of step 0."""

import json

import pytest
import torch

from pipeline.conversion.importing import family_of, import_pretrained, imported_state, unique
from pipeline.families.bert import BertConfig


def test_tied_parameters_are_kept_once():
    """Of several names of one tensor the first is kept; an equal tensor in other memory is a parameter of its own."""
    weight = torch.ones(2)
    assert list(unique({"a": weight, "b": weight, "c": weight.clone()})) == ["a", "c"]


def test_state_of_an_imported_model():
    """The state of an imported model says that it has trained on nothing, and has the shape of each tensor."""
    config = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    state = imported_state("bert", config, 60, {"a": torch.ones(2, 3)})
    assert (state["step"], state["consumed_samples"], state["optimizer_step"]) == (0, 0, 0)
    assert state["tensors"] == {"a": [2, 3]} and state["model"]["hidden_size"] == 8


def test_nothing_is_overwritten(tmp_path):
    """An existing `out` is an error before the model is read."""
    with pytest.raises(ValueError, match="exists; choose another directory or remove it"):
        import_pretrained(tmp_path / "nowhere", tmp_path, "bert", False)


@pytest.mark.parametrize(("fields", "family"), [({"model_type": "roberta"}, "roberta"), ({}, "bert")])
def test_the_configuration_names_the_family(tmp_path, fields, family):
    """The family follows from the configuration; an older BERT directory without model_type is BERT."""
    (tmp_path / "config.json").write_text(json.dumps(fields))
    assert family_of(tmp_path) == family


def test_a_model_of_no_family_is_refused(tmp_path):
    """A model of an unknown family is an error that names the file and the known families."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(
        ValueError, match=r"config.json: model_type = 'gpt2': must be one of albert, bert, electra, roberta"
    ):
        family_of(tmp_path)
