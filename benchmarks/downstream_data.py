"""Subsets of the examples of tasks, in the tasks' own formats, so that all programs read the same examples.

A subset has the same examples for equal numbers and seed, and is written once.
"""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pipeline.tasks import conll, glue
from pipeline.tasks.config import SquadConfig, TokensConfig
from pipeline.tasks.glue import GLUE
from pipeline.tasks.splits import DEV, TRAIN
from pipeline.tasks.squad import Question, read_squad
from preprocessing.files import read_json, write_json, write_text

Example = TypeVar("Example")
WHOLE = "subset.json"
"""File that is written last, with what the subset was made of."""


@dataclass(frozen=True)
class Subset:
    """Numbers of the examples, which are questions of SQuAD and sentences of token classification."""

    train: int = 4000
    """Training examples; fewer if there are fewer."""
    dev: int = 1000
    """Dev examples."""
    seed: int = 0
    """Seed of the choice."""

    def of(self, split: str, examples: Sequence[Example]) -> list[Example]:
        """Returns the chosen examples of a split, in their order."""
        most = {TRAIN: self.train, DEV: self.dev}[split]
        rows = np.random.default_rng(self.seed).permutation(len(examples))[:most]
        return [examples[row] for row in np.sort(rows)]


def write_subset(task: str, data: Path, out: Path, subset: Subset) -> Path:
    """Writes the subset of a task unless it is there, and returns its directory.

    Args:
        task: a task of GLUE, tokens, or squad.
        data: directory of the task's files; of squad the one file that serves for train and dev, divided by article.
        out: the directory, which is `data` of pipeline.finetune.
        subset: the examples that are chosen.

    Raises:
        ValueError: a file is missing or not in its format, or the directory has another subset.
    """
    made_of: dict[str, Any] = {"task": task, "data": str(data), **asdict(subset)}
    if (out / WHOLE).is_file():
        if (found := read_json(out / WHOLE)) != made_of:
            raise ValueError(f"{out} holds another subset ({found}); choose another --out")
        return out
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    {"squad": _squad, "tokens": _tokens}.get(task, _glue)(task, data, out, subset)
    write_json(out / WHOLE, made_of)
    return out


def _glue(task: str, data: Path, out: Path, subset: Subset) -> None:
    for split, rows in glue.read_splits(GLUE[task], data).items():
        if split in (TRAIN, DEV):
            chosen = [tuple(row.values.values()) for row in subset.of(split, rows)]
            header = [] if GLUE[task].columns else [tuple(rows[0].values)]
            write_text(out / f"{split}.tsv", "".join("\t".join(cells) + "\n" for cells in (*header, *chosen)))


def _tokens(task: str, data: Path, out: Path, subset: Subset) -> None:
    for split, sentences in conll.read_splits(data, TokensConfig()).items():
        if split in (TRAIN, DEV):
            blocks = [
                "".join(f"{word}\t{tag}\n" for word, tag in zip(sentence.words, sentence.tags, strict=True))
                for sentence in subset.of(split, sentences)
            ]
            write_text(out / f"{split}.conll", "\n".join(blocks))


def _squad(task: str, data: Path, out: Path, subset: Subset) -> None:
    found = read_squad(data.parent, SquadConfig(train=data.name, dev_share=0.2))
    for split, questions in found.splits.items():
        paragraphs = [_paragraph(question, found.may_lack_answers) for question in subset.of(split, questions)]
        write_json(out / f"{split}.json", {"data": [{"title": "subset", "paragraphs": paragraphs}]})


def _paragraph(question: Question, may_lack_answers: bool) -> dict[str, Any]:
    answers = [{"text": answer.text, "answer_start": answer.start} for answer in question.answers]
    asked: dict[str, Any] = {"id": question.id, "question": question.question, "answers": answers}
    if may_lack_answers:
        asked["is_impossible"] = not answers
    return {"context": question.context, "qas": [asked]}
