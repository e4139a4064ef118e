"""Import of models whose family their configuration names."""

import json

import pytest

from pipeline.conversion.importing import family_of


@pytest.mark.parametrize(("fields", "family"), [({"model_type": "roberta"}, "roberta"), ({}, "bert")])
def test_the_configuration_names_the_family(tmp_path, fields, family):
    """Older directories of BERT have no model_type."""
    (tmp_path / "config.json").write_text(json.dumps(fields))
    assert family_of(tmp_path) == family


def test_a_model_of_no_family_is_refused(tmp_path):
    """The error names the file and the families that there are."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(ValueError, match=r"config.json: model_type = 'gpt2': must be one of bert, roberta"):
        family_of(tmp_path)
