"""Answers to questions: parts of their contexts, or none."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.jobs.inference import compute_logits
from pipeline.jobs.predictions.base import Predictor, Reading
from pipeline.tasks.answering import THRESHOLD, difference
from pipeline.tasks.classification import texts_of
from pipeline.tasks.config import SquadConfig
from pipeline.tasks.encoding import pieces_of
from pipeline.tasks.spans import best_answers, make_windows, probabilities
from pipeline.tasks.tables import Row


def columns(reading: Reading) -> tuple[str, ...]:
    """Return the columns of the question and of its context, `question` and `context` by default."""
    return (reading.first or "question", reading.second or "context")


def predict(predictor: Predictor, rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Yield question and context of each row with the answer, its characters and its probability.

    The answer is empty, without characters, where no answer is better by more than the threshold in `config.json`. A
    model without a threshold answers every question.

    Raises:
        ValueError: a row lacks a text, or has an empty context; the message names file and line. Or the threshold is no
            number.
    """
    loaded, sequences, names = predictor.loaded, predictor.sequences, columns(predictor.reading)
    threshold, config = threshold_of(loaded.fields), config_for(sequences.max_length)
    pairs = [texts_of(row, names) for row in rows]
    questions = sequences.encode([question.strip() for question, _ in pairs])
    contexts = pieces_of(predictor.tokenizer)([context for _, context in pairs])
    for row, context in zip(rows, contexts, strict=True):
        if not len(context.tokens):
            raise ValueError(f"{row.place}: {names[1]} has no token; give a context")
    windows = make_windows(questions, contexts, config, sequences)
    logits = compute_logits(loaded.model, windows.encoded, sequences, predictor.reading.max_tokens)
    for pair, answers in zip(pairs, best_answers(windows, contexts, logits, config), strict=True):
        shares, span = probabilities(answers, allow_null=threshold is not None), answers.spans[0]
        found = {"answer": "", "start": None, "end": None, "score": round(shares[-1], 6)}
        if threshold is None or difference(answers) <= threshold:
            text = pair[1][span.start : span.end]
            start = span.start + len(text) - len(text.lstrip())
            text = text.strip()
            found = {"answer": text, "start": start, "end": start + len(text), "score": round(shares[0], 6)}
        yield dict(zip(names, pair, strict=True)) | found


def threshold_of(fields: Mapping[str, Any]) -> float | None:
    """Return the threshold of a `config.json`; None if it has none.

    Raises:
        ValueError: it is no number.
    """
    value = fields.get(THRESHOLD)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ValueError(f"config.json: {THRESHOLD} = {value!r}: must be a number; correct or remove it")
    return value


def config_for(max_length: int) -> SquadConfig:
    """Return the windows for sequences of a length: the defaults, or less for sequences that are short."""
    default = SquadConfig()
    return SquadConfig(
        stride=max(1, min(default.stride, max_length // 4)),
        max_question=max(1, min(default.max_question, max_length // 3)),
    )
