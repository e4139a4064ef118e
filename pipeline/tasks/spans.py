"""Answers as spans of a context: windows of the context with the question, and the best spans by the model's logits.

A context that does not fit into a sequence is divided into windows that overlap (Devlin et al. 2018,
google-research/bert, run_squad.py). Each is a sequence with the question, and the answer is the best span of all.

Shapes: Q questions, N windows, n tokens of a window with special tokens, R tokens of all windows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.data.packing import Int64Array
from pipeline.data.template import SECOND
from pipeline.tasks.base import Logits
from pipeline.tasks.config import SquadConfig
from pipeline.tasks.encoding import Encoded, Pieces, Sequences, encoded_of


class Span(NamedTuple):
    """A part of a context."""

    score: float
    """Sum of the logits of its first and its last token."""
    start: int
    """First character."""
    end: int
    """The character behind the last one."""


class Answers(NamedTuple):
    """The best spans of a question."""

    null: float
    """Score of no answer: the lowest sum of the logits of the first token in a window."""
    spans: list[Span]
    """Different spans, the best one first; there is at least one."""


@dataclass(frozen=True, eq=False)
class Windows:
    """Questions with windows of their contexts."""

    encoded: Encoded
    """N sequences: the question and a part of its context."""
    questions: Int64Array
    """(N,) question of each window, ascending."""
    begins: Int64Array
    """(N,) number of a window's first token in the context."""
    sizes: Int64Array
    """(N,) number of tokens of the context in a window."""
    places: Int64Array
    """(N,) place of a window's first token of the context in the sequence."""
    cut: int
    """Number of questions that were cut."""


def make_windows(
    questions: Sequence[Sequence[int]], contexts: Sequence[Pieces], config: SquadConfig, sequences: Sequences
) -> Windows:
    """Return the windows of questions.

    Args:
        questions: tokens of the Q questions.
        contexts: tokens of the context of each question.
        config: length of questions, and the stride of windows.
        sequences: how the model reads text.

    Raises:
        ValueError: sequences are too short for the questions.
    """
    template = sequences.template
    special = len(template.pair) - 2
    if sequences.max_length - special <= config.max_question:
        raise ValueError(
            f"text.max_length = {sequences.max_length}: must be above {config.max_question + special}, for a question "
            f"of squad.max_question = {config.max_question} tokens, {special} special tokens and a part of the context"
        )
    tokens, boundaries, owners, begins = [], [], [], []
    for number, (question, context) in enumerate(zip(questions, contexts, strict=True)):
        asked = np.array(question[: config.max_question], np.int32)
        room = sequences.max_length - special - len(asked)
        for begin in window_starts(len(context.tokens), room, config.stride):
            tokens.append(np.concatenate([asked, context.tokens[begin : begin + room]]))
            boundaries.append(len(asked))
            owners.append(number)
            begins.append(begin)
    ends = np.array(boundaries, np.int64)
    sizes = np.array([len(each) for each in tokens], np.int64) - ends
    return Windows(
        encoded_of(tokens, ends, template),
        np.array(owners, np.int64),
        np.array(begins, np.int64),
        sizes,
        ends + template.pair.index(SECOND) - 1,
        sum(len(question) > config.max_question for question in questions),
    )


def window_starts(size: int, room: int, stride: int) -> list[int]:
    """Return where windows of `room` tokens begin, so that they cover all `size` tokens of a context."""
    starts = [0]
    while starts[-1] + room < size:
        starts.append(starts[-1] + min(room, stride))
    return starts


def tokens_of_span(context: Pieces, start: int, end: int) -> tuple[int, int] | None:
    """Return the first and the last token of a span of characters; None if it has no token."""
    first = int(np.searchsorted(context.ends, start, side="right"))
    last = int(np.searchsorted(context.starts, end, side="left")) - 1
    return (first, last) if first <= last else None


def span_targets(windows: Windows, spans: Sequence[tuple[int, int] | None]) -> Int64Array:
    """Return (N, 2) places of the first and the last token of the answer in each window.

    Both are 0, the first token of the sequence, where the question has no answer or the window does not hold all of it.

    Args:
        windows: the windows of Q questions.
        spans: first and last token of each answer in its context; None: there is no answer.
    """
    limits = np.array([(-1, -1) if span is None else span for span in spans], np.int64).reshape(-1, 2)
    inside = limits[windows.questions] - windows.begins[:, None]  # (N, 2)
    held = (inside[:, 0] >= 0) & (inside[:, 1] < windows.sizes)
    return np.where(held[:, None], inside + windows.places[:, None], 0)


def best_answers(windows: Windows, contexts: Sequence[Pieces], logits: Logits, config: SquadConfig) -> list[Answers]:
    """Return the best answers of each question.

    Args:
        windows: the windows of Q questions.
        contexts: the context of each question.
        logits: (R, 2) logits of the first and the last token of the answer.
        config: length of answers, and number of them.
    """
    ends = np.cumsum(windows.encoded.lengths)
    nulls, spans = np.full(len(contexts), np.inf), [dict[tuple[int, int], float]() for _ in contexts]
    for number, question in enumerate(windows.questions):
        rows = logits[ends[number] - windows.encoded.lengths[number] : ends[number]].astype(np.float64)  # (n, 2)
        nulls[question] = min(nulls[question], rows[0].sum())
        inside = rows[windows.places[number] :][: windows.sizes[number]]
        pieces, begin = contexts[question], windows.begins[number]
        for score, first, last in candidates(inside, config.n_best, config.max_answer):
            place = int(pieces.starts[begin + first]), int(pieces.ends[begin + last])
            spans[question][place] = max(score, spans[question].get(place, -np.inf))
    ranked = [sorted(found.items(), key=lambda item: (-item[1], item[0]))[: config.n_best] for found in spans]
    return [
        Answers(float(null), [Span(score, *place) for place, score in best])
        for null, best in zip(nulls, ranked, strict=True)
    ]


def candidates(logits: npt.NDArray[np.float64], n_best: int, max_answer: int) -> list[tuple[float, int, int]]:
    """Return (score, first token, last token) of at most `n_best` spans of a window, the best one first.

    They are those of the `n_best` best first and last tokens that are in order and have at most `max_answer` tokens; if
    there is none, the best single token.

    Args:
        logits: (n, 2) logits of the first and the last token of the answer.
        n_best: number of spans.
        max_answer: number of tokens of the longest span.
    """
    first, last = (np.argsort(-logits[:, column], kind="stable")[:n_best] for column in (0, 1))
    sizes = last[None, :] - first[:, None]
    chosen = np.nonzero((sizes >= 0) & (sizes < max_answer))
    starts, ends = first[chosen[0]], last[chosen[1]]
    if not len(starts):
        starts = ends = np.array([logits.sum(1).argmax()])
    scores = logits[starts, 0] + logits[ends, 1]
    order = np.argsort(-scores, kind="stable")[:n_best]
    return [(float(scores[at]), int(starts[at]), int(ends[at])) for at in order]


def probabilities(answers: Answers, allow_null: bool) -> list[float]:
    """Return the probability of each span, and behind them that of no answer if it is possible.

    As in run_squad.py, it is a softmax over the best answers alone.
    """
    scores = np.array([span.score for span in answers.spans] + [answers.null] * allow_null)
    weights = np.exp(scores - scores.max())
    return [float(weight) for weight in weights / weights.sum()]
