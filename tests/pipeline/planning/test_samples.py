"""Laws of pipeline/planning/samples.py; test_plan.py reads samples that exist."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config import parse
from pipeline.planning.samples import length_by_name, read_samples


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("data/samples128", (128, "the name of data.samples")),
        ("samples64-sop", (64, "the name of data.samples")),
        ("data/books", (256, "model.max_position_embeddings")),
        ("samples512", (256, "model.max_position_embeddings")),
    ],
)
def test_the_length_of_samples_that_do_not_exist(name, expected):
    """The length is the number in the directory's name, if the model has so many positions."""
    assert length_by_name(Path(name), 256) == expected


def test_earlier_samples_that_do_not_exist():
    """Their longest and mean lengths are the number in the directory's name."""
    recipe = parse(["--recipe", "bert_mini"])
    data = replace(recipe.data, earlier_samples=[Path("samples32")], until=[0.5])
    assert read_samples(replace(recipe, data=data), 128, None, 100).earlier == ((32, 32),)
