"""Metrics of fine-tuning, computed by scikit-learn and SciPy.

Shapes: N examples.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[Any]


def accuracy(labels: Values, predictions: Values) -> float:
    """Return the share of the predictions that are right."""
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(labels, predictions))


def f1(labels: Values, predictions: Values) -> float:
    """Return the F1 score of class 1, as GLUE defines it for MRPC and QQP; 0 if the class never occurs."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predictions, pos_label=1, average="binary", zero_division=0))


def f1_macro(labels: Values, predictions: Values) -> float:
    """Return the mean of the F1 scores of all classes that occur; a class that is never found counts 0."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predictions, average="macro", zero_division=0))


def matthews(labels: Values, predictions: Values) -> float:
    """Return Matthews' correlation coefficient; 0 if one class alone is predicted."""
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(labels, predictions))


def pearson(labels: Values, predictions: Values) -> float:
    """Return Pearson's correlation; NaN if all labels or all predictions are equal."""
    from scipy.stats import pearsonr

    return _correlation(pearsonr, labels, predictions)


def spearman(labels: Values, predictions: Values) -> float:
    """Return Spearman's rank correlation; NaN if all labels or all predictions are equal."""
    from scipy.stats import spearmanr

    return _correlation(spearmanr, labels, predictions)


def mean_squared_error(labels: Values, predictions: Values) -> float:
    """Return the mean of the squared differences."""
    return float(np.mean((labels - predictions) ** 2))


def _correlation(function: Callable[..., Any], labels: Values, predictions: Values) -> float:
    with warnings.catch_warnings():  # a constant is no fault of the data, and NaN says so
        warnings.simplefilter("ignore")
        return float(function(labels, predictions).statistic)


METRICS: dict[str, Callable[[Values, Values], float]] = {
    function.__name__: function
    for function in (accuracy, f1, f1_macro, matthews, pearson, spearman, mean_squared_error)
}
"""The metrics by name."""


def measure(names: Sequence[str], labels: Values, predictions: Values) -> dict[str, float]:
    """Return the metrics of the given names.

    Args:
        names: keys of METRICS.
        labels: (N,) classes or numbers.
        predictions: (N,) likewise.
    """
    return {name: METRICS[name](labels, predictions) for name in names}
