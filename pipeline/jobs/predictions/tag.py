"""Tags of the words of texts, and the entities that they name."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from pipeline.jobs.inference import compute_logits
from pipeline.jobs.predictions.base import Predictor, Reading
from pipeline.tasks.classification import texts_of
from pipeline.tasks.encoding import pieces_of
from pipeline.tasks.entities import OUTSIDE, divide_tag, entities
from pipeline.tasks.tables import Row
from pipeline.tasks.words import word_sequences

WORD = re.compile(r"\w+(?:[^\w\s]\w+)*|[^\w\s]")
"""A word of a text: letters and digits with single other characters between them, or one other character."""


def columns(reading: Reading) -> tuple[str, ...]:
    """Return the column of the text, `text` by default.

    Raises:
        ValueError: there is a second column.
    """
    if reading.second:
        raise ValueError(f"--second {reading.second}: a model of tags reads one text; remove the option")
    return (reading.first or "text",)


def predict(predictor: Predictor, rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Yield each text with its words, their tags and probabilities, and with its entities.

    A word without a token has the tag O and the probability 1. Models whose classes name no entities have no entities.

    Raises:
        ValueError: a row lacks a text; the message names file and line.
    """
    loaded, sequences, (column,) = predictor.loaded, predictor.sequences, columns(predictor.reading)
    texts = [texts_of(row, (column,))[0] for row in rows]
    spans = [[found.span() for found in WORD.finditer(text)] for text in texts]
    pieces = pieces_of(predictor.tokenizer)(texts)
    found = word_sequences(pieces, spans, sequences.template, sequences.max_length)
    logits = compute_logits(loaded.model, found.encoded, sequences, predictor.reading.max_tokens)
    logits = logits[found.rows].astype(np.float64)  # (P, C)
    scores = np.exp(logits.max(1) - np.logaddexp.reduce(logits, axis=1))  # (P,) probability of the best tag
    words: list[list[dict[str, Any]]] = [
        [{"word": text[a:b], "start": a, "end": b, "tag": OUTSIDE, "score": 1.0} for a, b in span]
        for text, span in zip(texts, spans, strict=True)
    ]
    for text, word, best, score in zip(found.sentences, found.words, logits.argmax(1), scores, strict=True):
        words[text][word] |= {"tag": loaded.labels[best], "score": round(float(score), 6)}
    for shown, of_text in zip(texts, words, strict=True):
        yield {column: shown, "words": of_text} | entities_of(shown, of_text, loaded.labels)


def entities_of(text: str, words: Sequence[dict[str, Any]], labels: Sequence[str]) -> dict[str, Any]:
    """Return "entities" of a text, each with its kind, its characters and the mean probability of its words.

    Args:
        text: the text.
        words: its words with tags.
        labels: the model's classes; the result is empty if one of them is no tag of an entity.
    """
    with suppress(ValueError):
        for label in labels:
            divide_tag(label)
        found = []
        for kind, first, last in entities([word["tag"] for word in words]):
            inside = words[first:last]
            start, end = inside[0]["start"], inside[-1]["end"]
            score = round(sum(word["score"] for word in inside) / len(inside), 6)
            found.append({"kind": kind, "text": text[start:end], "start": start, "end": end, "score": score})
        return {"entities": found}
    return {}
