"""Question answering: the answer to a question is a part of its context, or there is none.

Shapes: N windows of a split, B of a batch, T tokens of a batch, R tokens of a split, Q questions.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.data.batch import Batch
from pipeline.data.packing import Int64Array
from pipeline.runlog.terms import Term
from pipeline.tasks.base import Logits
from pipeline.tasks.config import SquadConfig
from pipeline.tasks.encoding import Encoded, PieceEncoder, Pieces, Sequences
from pipeline.tasks.spans import (
    Answers,
    Windows,
    best_answers,
    make_windows,
    probabilities,
    span_targets,
    tokens_of_span,
)
from pipeline.tasks.splits import DEV, TRAIN
from pipeline.tasks.squad import Question, read_squad
from pipeline.tasks.squad_metrics import Score, best_threshold, score
from preprocessing.files import write_json

NAME, THRESHOLD = "squad", "null_threshold"


@dataclass(frozen=True, eq=False)
class AskedSplit:
    """The questions of a split."""

    questions: Sequence[Question]
    contexts: Sequence[Pieces]
    """Tokens of the context of each question."""
    windows: Windows
    targets: Int64Array
    """(N, 2) places of the first and the last token of the answer in each window; 0 where it is not there."""


@dataclass(frozen=True, eq=False)
class QuestionAnswering:
    """Questions with their contexts; see `pipeline.tasks.base.Task`. An example is a window of a context."""

    asked: Mapping[str, AskedSplit]
    """The questions of each split."""
    may_lack_answers: bool
    """Whether questions may have no answer, as in SQuAD 2.0."""
    config: SquadConfig
    notes: tuple[str, ...]
    name: str = NAME
    head: str = "spans"
    labels: tuple[str, ...] = ()
    outputs: int = 2
    pipeline_tag: str = "question-answering"
    measured: tuple[str, ...] = ()
    predicted: tuple[str, ...] = (DEV,)

    @property
    def term(self) -> Term:
        """The term of the loss: a mean over the windows."""
        return Term("span", "answer-span", "samples", counted=False)

    @property
    def metrics(self) -> tuple[str, ...]:
        """F1 and exact match; with questions without an answer also F1 of either kind of question."""
        return ("f1", "exact", *(("has_answer_f1", "no_answer_f1") if self.may_lack_answers else ()))

    @cached_property
    def splits(self) -> Mapping[str, Encoded]:
        """The windows by split."""
        return {split: asked.windows.encoded for split, asked in self.asked.items()}

    def config_fields(self, metrics: Mapping[str, float]) -> dict[str, Any]:
        """Return the threshold above which no answer is given, if questions may have none."""
        return {THRESHOLD: metrics[THRESHOLD]} if self.may_lack_answers else {}

    def targets(self, split: str, examples: Int64Array) -> dict[str, Tensor]:
        """Return "spans" (B, 2): int64 places of the first and the last token of the answer."""
        return {"spans": torch.from_numpy(self.asked[split].targets[examples])}

    def totals(self, split: str, examples: Int64Array) -> dict[str, int]:
        """Return no further counts."""
        return {}

    def fingerprint(self, split: str) -> bytes:
        """Return ids and answers of the questions of a split as bytes."""
        return json.dumps([(asked.id, asked.answers) for asked in self.asked[split].questions]).encode()

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the sum () over windows of the mean cross entropy in nats of first and last token, of logits (T, 2).

        Each is a choice among all tokens of the window, special ones included.
        """
        within = torch.arange(batch.max_seqlen, device=logits.device)
        places = batch.cu_seqlens[: batch.num_samples, None] + within  # (B, longest)
        scores = logits.float()[places.clamp(max=len(logits) - 1)]  # (B, longest, 2)
        scores = scores.masked_fill((within >= batch.lengths[:, None])[..., None], -torch.inf)
        return functional.cross_entropy(scores, batch.targets["spans"], reduction="sum") / 2

    def measure(self, split: str, logits: Logits) -> dict[str, float]:
        """Return the metrics of a split; the threshold is the best one for F1 on it."""
        asked, answers = self.asked[split], self.answers(split, logits)
        threshold = self.threshold(split, answers)
        predicted = [self.text_of(*each, threshold) for each in zip(asked.questions, answers, strict=True)]
        scores = np.array(
            [score_of(*each) for each in zip(asked.questions, predicted, strict=True)], np.float64
        )  # (Q, 2)
        found = {"f1": scores[:, 1].mean(), "exact": scores[:, 0].mean()}
        if self.may_lack_answers:
            has_answer = np.array([bool(question.answers) for question in asked.questions])
            for name, chosen in (("has_answer_f1", has_answer), ("no_answer_f1", ~has_answer)):
                found[name] = scores[chosen, 1].mean() if chosen.any() else 0.0
            found[THRESHOLD] = threshold
        return {name: float(value) for name, value in found.items()}

    def answers(self, split: str, logits: Logits) -> list[Answers]:
        """Return the best answers to each question."""
        asked = self.asked[split]
        return best_answers(asked.windows, asked.contexts, logits, self.config)

    def threshold(self, split: str, answers: Sequence[Answers]) -> float:
        """Return the threshold with the best F1 on a split; infinite if every question has an answer."""
        if not self.may_lack_answers:
            return np.inf
        questions = self.asked[split].questions
        best = [self.text_of(*each, np.inf) for each in zip(questions, answers, strict=True)]
        answered = np.array([score_of(*each).f1 for each in zip(questions, best, strict=True)])
        unanswered = np.array([score_of(question, "").f1 for question in questions])
        return best_threshold(np.array([difference(each) for each in answers]), answered, unanswered)

    def text_of(self, question: Question, answers: Answers, threshold: float) -> str:
        """Return the text of the best answer; empty if that of no answer is better by more than a threshold."""
        span = answers.spans[0]
        return "" if difference(answers) > threshold else question.context[span.start : span.end].strip()

    def write_predictions(self, split: str, logits: Logits, directory: Path) -> Path:
        """Write SPLIT.json with the answer to each question by its id, as SQuAD's evaluation script reads it.

        SPLIT_nbest.json has the best answers with their probabilities, and SPLIT_null_odds.json the score of no answer
        minus that of the best answer, if questions may have none.
        """
        asked, answers = self.asked[split], self.answers(split, logits)
        threshold = self.threshold(split, answers)
        pairs = list(zip(asked.questions, answers, strict=True))
        write_json(directory / f"{split}_nbest.json", {each.id: self.ranked(each, found) for each, found in pairs})
        if self.may_lack_answers:
            write_json(directory / f"{split}_null_odds.json", {each.id: difference(found) for each, found in pairs})
        path = directory / f"{split}.json"
        write_json(path, {each.id: self.text_of(each, found, threshold) for each, found in pairs})
        return path

    def ranked(self, question: Question, answers: Answers) -> list[dict[str, Any]]:
        """Return the best answers of a question with their probabilities, and with an empty text that of no answer."""
        texts = [question.context[span.start : span.end].strip() for span in answers.spans]
        texts += [""] * self.may_lack_answers
        pairs = zip(probabilities(answers, self.may_lack_answers), texts, strict=True)
        return [{"text": text, "probability": share} for share, text in sorted(pairs, key=lambda pair: -pair[0])]


def difference(answers: Answers) -> float:
    """Return the score of no answer minus that of the best answer."""
    return answers.null - answers.spans[0].score


def score_of(question: Question, predicted: str) -> Score:
    """Return exact match and F1 of an answer to a question."""
    return score(predicted, [answer.text for answer in question.answers])


def read_answering(data: Path, config: SquadConfig, sequences: Sequences, encode: PieceEncoder) -> QuestionAnswering:
    """Read and encode the questions in a directory.

    Args:
        data: directory of the files.
        config: files, windows and answers.
        sequences: how the model reads text.
        encode: its tokenizer.

    Raises:
        ValueError: a file is missing or not in its form, or an answer cannot be used; the message names the file and
            the question.
    """
    found = read_squad(data, config)
    asked = {split: ask(questions, config, sequences, encode) for split, questions in found.splits.items()}
    notes = [note for split, each in asked.items() for note in notes_of(split, each, config)]
    return QuestionAnswering(asked, found.may_lack_answers, config, tuple(notes))


def ask(questions: Sequence[Question], config: SquadConfig, sequences: Sequences, encode: PieceEncoder) -> AskedSplit:
    """Encode questions and their contexts, each context once, and find the tokens of the first answer of each.

    Raises:
        ValueError: an answer has no token.
    """
    texts = list(dict.fromkeys(question.context for question in questions))
    encoded = dict(zip(texts, encode(texts), strict=True))
    contexts = [encoded[question.context] for question in questions]
    windows = make_windows(sequences.encode([each.question.strip() for each in questions]), contexts, config, sequences)
    spans = []
    for question, context in zip(questions, contexts, strict=True):
        if not len(context.tokens):
            raise ValueError(f"{question.place}: the context has no token; correct or remove it")
        answer = question.answers[0] if question.answers else None
        span = tokens_of_span(context, answer.start, answer.start + len(answer.text)) if answer else None
        if answer and span is None:
            raise ValueError(f"{question.place}: the answer {answer.text!r} has no token; remove the question")
        spans.append(span)
    return AskedSplit(questions, contexts, windows, span_targets(windows, spans))


def notes_of(split: str, asked: AskedSplit, config: SquadConfig) -> list[str]:
    """Return the number of windows, and how many questions are cut or have an answer that is in no window."""
    windows = asked.windows
    answered = {number for number, question in enumerate(asked.questions) if question.answers}
    lost = len(answered - set(windows.questions[asked.targets[:, 1] > 0].tolist()))
    notes = [f"{split}: {len(asked.questions):,} questions have {len(windows.questions):,} windows"]
    if windows.cut:
        notes.append(f"{split}: {windows.cut:,} questions are cut to squad.max_question = {config.max_question}")
    if lost and split == TRAIN:
        notes.append(f"{split}: {lost:,} answers fit into no window; their questions are trained as unanswerable")
    return notes
