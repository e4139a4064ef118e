"""Exact match, F1 and the threshold of unanswerable questions, by the definitions of SQuAD's evaluation script 2.0.

Source: evaluate-v2.0.py (Rajpurkar et al. 2018, https://arxiv.org/abs/1806.03822). For questions with answers it equals
the script for SQuAD 1.1, except that gold answers without a word, such as "the", are left out.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)

Floats = npt.NDArray[np.float64]


class Score(NamedTuple):
    """The score of an answer: both are 1 for a right one."""

    exact: float
    f1: float


def normalized(text: str) -> str:
    """Return a text in lower case, without punctuation and articles, and with single spaces between its words."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_WITHOUT_PUNCTUATION)).split())


def score(predicted: str, answers: Sequence[str]) -> Score:
    """Return exact match and F1 of a predicted answer, each of the gold answer for which it is highest.

    Args:
        predicted: the answer; empty: the question has none.
        answers: gold answers; if none of them has a word, the question has no answer.
    """
    golds = [words for answer in answers if (words := normalized(answer))] or [""]
    words = normalized(predicted)
    return Score(float(words in golds), max(f1(words.split(), gold.split()) for gold in golds))


def f1(predicted: Sequence[str], gold: Sequence[str]) -> float:
    """Return the harmonic mean of precision and recall of words, counted as often as they occur.

    Without a word in one of them, it is 1 if the other has none either, else 0.
    """
    if not predicted or not gold:
        return float(not predicted and not gold)
    common = (Counter(predicted) & Counter(gold)).total()
    return 2 * common / (len(predicted) + len(gold))


def best_threshold(differences: Floats, answered: Floats, unanswered: Floats) -> float:
    """Return the threshold above which no answer is given that makes the mean score highest.

    It is one of the differences, the lowest one of equally good ones, or lies below all of them.

    Args:
        differences: (Q,) score of no answer minus that of the best answer.
        answered: (Q,) score of each question with its answer.
        unanswered: (Q,) score of each question without an answer.
    """
    order = np.argsort(differences, kind="stable")
    gains = np.concatenate([[0.0], np.cumsum((answered - unanswered)[order])])  # of answering the first k questions
    values = differences[order]
    possible = np.concatenate([[True], np.append(values[1:] > values[:-1], True)])  # equal ones are answered together
    best = int(np.argmax(np.where(possible, gains, -np.inf)))
    return float(values[best - 1]) if best else float(values[0]) - 1.0
