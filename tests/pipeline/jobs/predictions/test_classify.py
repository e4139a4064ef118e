"""Classes of pairs equal those of `transformers`; a regression gives a number."""

import json

import numpy as np
import pytest
from prediction_cases import TEXTS, expected_classes, write_classifier

from pipeline.jobs.predictions.classify import prediction
from pipeline.predict import predict


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model with three classes."""
    return write_classifier(tmp_path_factory.mktemp("classify"))


def found(path):
    return [(line["label"], pytest.approx(line["score"], abs=2e-6)) for line in map(json.loads, path.open())]


def test_pairs_of_a_table(model, tmp_path):
    """The columns of a pair are named, and the predictions are written to the named file."""
    rows = [{"question": one, "passage": other} for one, other in zip(TEXTS, reversed(TEXTS), strict=True)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    columns = ["--first", "question", "--second", "passage"]
    predict([str(model), str(tmp_path / "pairs.jsonl"), *columns, "--out", str(tmp_path / "out.jsonl")])
    assert found(tmp_path / "out.jsonl") == expected_classes(model, TEXTS, TEXTS[::-1])


def test_a_number_has_no_class():
    """A regression's logit is its prediction; a probability follows from all logits."""
    assert prediction(np.array([1.5], np.float32), ()) == {"value": 1.5}
    assert prediction(np.array([0.0, 0.0, -np.inf], np.float32), ("a", "b", "c")) == {"label": "a", "score": 0.5}
