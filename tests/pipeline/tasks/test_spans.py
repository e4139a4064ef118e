"""Windows cover their context, and the best spans are those of all windows."""

import numpy as np
import pytest

from pipeline.data.template import Template
from pipeline.families import get_family
from pipeline.tasks.config import SquadConfig
from pipeline.tasks.encoding import Pieces, Sequences, batch_of
from pipeline.tasks.spans import (
    Answers,
    Span,
    best_answers,
    candidates,
    make_windows,
    probabilities,
    span_targets,
    tokens_of_span,
    window_starts,
)

TEMPLATES = {"bert": Template(), "roberta": get_family("roberta").template}


def context(size, first=100):
    """A context of tokens with two characters each and a space between them."""
    starts = np.arange(size) * 3
    return Pieces(np.arange(first, first + size, dtype=np.int32), starts, starts + 2)


def windows_of(questions, contexts, max_length, template="bert", **settings):
    sequences = Sequences(len, {"cls": 0, "sep": 1, "pad": 2}, TEMPLATES[template], max_length)
    config = SquadConfig(**{"max_question": 4, "stride": 3} | settings)
    return make_windows(questions, contexts, config, sequences), sequences, config


@pytest.mark.parametrize(
    ("size", "room", "stride"), [(10, 4, 3), (10, 4, 9), (4, 4, 1), (5, 4, 4), (0, 4, 2), (9, 1, 1)]
)
def test_windows_cover_every_token(size, room, stride):
    """No token is left out, also where the stride is longer than a window, and no window is inside another one."""
    starts = window_starts(size, room, stride)
    assert {at for start in starts for at in range(start, min(start + room, size))} == set(range(size))
    assert all(start + room < size for start in starts[:-1])


@pytest.mark.parametrize("template", TEMPLATES)
def test_windows_are_sequences_with_the_question(template):
    """The tokens at a window's place in the sequence are those of the context, and questions are cut."""
    contexts = [context(9), context(2, 200)]
    windows, sequences, _ = windows_of([[50, 51], [60, 61, 62, 63, 64]], contexts, 10, template)
    batch = batch_of(windows.encoded, np.arange(len(windows.questions)), {}, sequences)
    assert batch.max_seqlen <= 10 and windows.cut == 1
    for number, ids in enumerate(batch.input_ids.split(batch.lengths.tolist())):
        pieces, begin, place = contexts[windows.questions[number]], windows.begins[number], windows.places[number]
        size = windows.sizes[number]
        assert ids[place : place + size].tolist() == pieces.tokens[begin : begin + size].tolist()
        assert ids[1] in (50, 60) and ids[0] == 0 and ids[place + size] == 1


def test_sequences_too_short_for_questions():
    """A length without room for the context is an error."""
    with pytest.raises(
        ValueError, match=r"text.max_length = 7: must be above 7, for a question of squad.max_question = 4"
    ):
        windows_of([[1]], [context(3)], 7)


def test_spans_of_characters_are_tokens():
    """A span begins and ends with the tokens that it touches; a space has none."""
    pieces = context(4)
    assert tokens_of_span(pieces, 3, 8) == (1, 2)
    assert tokens_of_span(pieces, 4, 7) == (1, 2)
    assert tokens_of_span(pieces, 2, 3) is None


def test_targets_are_in_the_windows_that_hold_the_answer():
    """The answer's place is that in the window; windows without all of it, and questions without one, have the first
    token.
    """
    windows, _, _ = windows_of([[50], [51]], [context(7), context(3)], 8, stride=2)
    assert windows.begins.tolist() == [0, 2, 4, 0]
    targets = span_targets(windows, [(3, 4), None])
    for (first, last), question, begin, size, place in zip(
        targets, windows.questions, windows.begins, windows.sizes, windows.places, strict=True
    ):
        held = question == 0 and begin <= 3 and begin + size > 4
        assert (first, last) == ((place + 3 - begin, place + 4 - begin) if held else (0, 0))
    assert (targets[:, 0] > 0).sum() >= 1


@pytest.mark.parametrize("seed", range(6))
def test_the_best_spans_are_those_of_an_exhaustive_search(seed):
    """Spans have at most `max_answer` tokens, and those of all windows are compared, each once."""
    contexts = [context(9), context(2)]
    windows, _, config = windows_of([[50], [51]], contexts, 9, n_best=12, max_answer=2)
    rows = int(windows.encoded.lengths.sum())
    logits = np.random.default_rng(seed).normal(size=(rows, 2)).astype(np.float32)
    ends = np.cumsum(windows.encoded.lengths)
    for question, answers in enumerate(best_answers(windows, contexts, logits, config)):
        spans, nulls = {}, []
        for number in np.flatnonzero(windows.questions == question):
            part = logits[ends[number] - windows.encoded.lengths[number] : ends[number]].astype(np.float64)
            nulls.append(part[0].sum())
            inside = part[windows.places[number] :][: windows.sizes[number]]
            for first in range(len(inside)):
                for last in range(first, min(first + 2, len(inside))):
                    place = (3 * (first + windows.begins[number]), 3 * (last + windows.begins[number]) + 2)
                    spans[place] = max(spans.get(place, -np.inf), inside[first, 0] + inside[last, 1])
        expected = sorted(((score, *place) for place, score in spans.items()), reverse=True)[:12]
        assert answers.null == pytest.approx(min(nulls))
        assert answers.spans == [(pytest.approx(score), *place) for score, *place in expected]


def test_a_window_always_has_a_candidate():
    """If the best first and last tokens are not in order, the best single token is the only span."""
    assert candidates(np.array([[0.0, 9.0], [9.0, 0.5]]), 1, 30) == [(9.5, 1, 1)]


def test_probabilities_are_a_softmax_over_the_best_answers():
    """That of no answer is among them only where it is possible."""
    answers = Answers(0.0, [Span(np.log(3), 0, 1), Span(0.0, 1, 2)])
    assert probabilities(answers, allow_null=True) == pytest.approx([0.6, 0.2, 0.2])
    assert probabilities(answers, allow_null=False) == pytest.approx([0.75, 0.25])
