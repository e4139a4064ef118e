"""Metrics agree with their definitions on small examples."""

import math

import numpy as np
import pytest

from pipeline.tasks.metrics import METRICS, measure

LABELS, PREDICTIONS = np.array([1, 1, 1, 0, 0, 0]), np.array([1, 1, 0, 0, 0, 1])  # 2 true and 1 false of each kind


@pytest.mark.parametrize(
    ("name", "value"), [("accuracy", 4 / 6), ("f1", 2 / 3), ("f1_macro", 2 / 3), ("matthews", 1 / 3)]
)
def test_metrics_of_classes(name, value):
    """Precision and recall are 2/3 for both classes by hand, and Matthews' coefficient is (2 * 2 - 1 * 1) / 9."""
    assert measure([name], LABELS, PREDICTIONS) == {name: pytest.approx(value)}


def test_metrics_of_numbers():
    """A monotone relation has rank correlation 1; a constant has none, which is no error."""
    numbers = np.array([1.0, 2.0, 3.0])
    found = measure(("pearson", "spearman", "mean_squared_error"), numbers, np.array([1.0, 4.0, 9.0]))
    assert found["spearman"] == pytest.approx(1) and 0.98 < found["pearson"] < 0.99
    assert found["mean_squared_error"] == pytest.approx((0 + 4 + 36) / 3)
    assert math.isnan(METRICS["pearson"](numbers, np.ones(3))) and math.isnan(METRICS["spearman"](numbers, np.ones(3)))


def test_one_predicted_class_has_a_value():
    """Matthews' coefficient and F1 are 0 there."""
    assert measure(("f1", "matthews"), LABELS, np.zeros(6, int)) == {"f1": 0.0, "matthews": 0.0}
