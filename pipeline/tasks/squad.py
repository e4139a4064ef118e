"""Files in the form of SQuAD: articles with paragraphs, each a context with questions about it.

Source: Rajpurkar et al. 2016 (https://arxiv.org/abs/1606.05250) and 2018 (https://arxiv.org/abs/1806.03822).
"""

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.tasks.config import SquadConfig
from pipeline.tasks.lines import is_text
from pipeline.tasks.splits import DEV, TRAIN
from preprocessing.files import readable


class Answer(NamedTuple):
    """An answer: a part of the context."""

    start: int
    """First character."""
    text: str


class Question(NamedTuple):
    """A question about a context."""

    path: Path
    id: str
    question: str
    context: str
    answers: tuple[Answer, ...]
    """Empty: it has no answer."""

    @property
    def place(self) -> str:
        """File and question, for messages."""
        return f"{self.path}, question {self.id}"


class Squad(NamedTuple):
    """The questions of the splits."""

    splits: dict[str, list[Question]]
    may_lack_answers: bool
    """Whether questions may have no answer, as in SQuAD 2.0."""


def read_squad(data: Path, config: SquadConfig) -> Squad:
    """Return the questions of the splits train and dev.

    Raises:
        ValueError: a file is missing or not in its form, an answer is not in its context, or a question of SQuAD 1.1
            has no answer; the message names the file and the question.
        OSError: a file cannot be read.
    """
    articles = _articles(file_of(data, TRAIN, config.train))
    if config.dev_share:
        splits = divide_articles(articles, config.dev_share)
    else:
        splits = {TRAIN: articles, DEV: _articles(file_of(data, DEV, config.dev))}
    found = {split: [question for each in chosen for question in each.questions] for split, chosen in splits.items()}
    is_later = any(each.may_lack_answers for chosen in splits.values() for each in chosen)
    may_lack = config.version == "2.0" or (config.version == "auto" and is_later)
    for split, questions in found.items():
        if not questions:
            raise ValueError(f"{data}: the split {split} has no questions; give a file with questions")
        check(questions, may_lack)
    return Squad(found, may_lack)


def file_of(data: Path, split: str, name: str) -> Path:
    """Return the file of a split: the one that was named, or the only one whose name begins with that of the split.

    Raises:
        ValueError: there is none, or several.
    """
    if name:
        if not (data / name).is_file():
            raise ValueError(f"squad.{split} = {name}: must be a file in {data}")
        return data / name
    paths = sorted(path for end in ("json", "json.gz") for path in data.glob(f"{split}*.{end}"))
    if len(paths) != 1:
        shown = (
            f"several files {split}*.json ({', '.join(path.name for path in paths)})" if paths else f"no {split}*.json"
        )
        remedy = " or, with one file for both splits, squad.dev_share" if split == DEV else ""
        raise ValueError(f"{data}: has {shown} or .json.gz; name the file with squad.{split}{remedy}")
    return paths[0]


class _Article(NamedTuple):
    title: str
    questions: list[Question]
    may_lack_answers: bool


def divide_articles(articles: list[_Article], share: float) -> dict[str, list[_Article]]:
    """Return articles as train and dev: those of dev are the first ones in the order of a checksum of their titles.

    Raises:
        ValueError: there is only one article.
    """
    if len(articles) < 2:
        raise ValueError(f"squad.dev_share = {share}: the file has one article; a split by article requires two")
    order = sorted(
        range(len(articles)),
        key=lambda number: hashlib.sha256(articles[number].title.encode(errors="surrogatepass")).digest(),
    )
    chosen = set(order[: min(len(articles) - 1, max(1, round(share * len(articles))))])
    return {
        TRAIN: [article for number, article in enumerate(articles) if number not in chosen],
        DEV: [article for number, article in enumerate(articles) if number in chosen],
    }


def check(questions: list[Question], may_lack_answers: bool) -> None:
    """Check the questions of a split.

    Raises:
        ValueError: two have the same id, an answer is not in its context, or a question has no answer
            where all must have one.
    """
    ids: set[str] = set()
    for question in questions:
        if question.id in ids:
            raise ValueError(f"{question.place}: another question has this id; give each one of its own")
        ids.add(question.id)
        if not question.context.strip() or not question.question.strip():
            raise ValueError(f"{question.place}: question or context is empty; correct or remove it")
        if not question.answers and not may_lack_answers:
            raise ValueError(
                f"{question.place}: has no answer, as in SQuAD 2.0; set squad.version = 2.0 or remove the question"
            )
        for start, text in question.answers:
            if not text.strip() or start < 0 or not question.context.startswith(text, start):
                raise ValueError(
                    f"{question.place}: the answer {text!r} is not in its context at answer_start = {start}; correct "
                    "or remove the question"
                )


def _articles(path: Path) -> list[_Article]:
    content = _content(path)
    articles = _get(content, "data", list, str(path))
    made = []
    for number, article in enumerate(articles):
        place = f"{path}, data[{number}]"
        paragraphs = _get(article, "paragraphs", list, place)
        questions = [question for each in paragraphs for question in _questions(path, each, place)]
        later = any("is_impossible" in asked for each in paragraphs for asked in each["qas"])
        made.append(_Article(str(article.get("title", "")), questions, later))
    return made


def _content(path: Path) -> Any:
    with readable(path):
        try:
            with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
                return json.loads(file.read())
        except (ValueError, RecursionError, EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path}: is no JSON ({error}); give a file in the form of SQuAD") from None


def _questions(path: Path, paragraph: Any, place: str) -> Iterator[Question]:
    context = _get(paragraph, "context", str, place)
    for asked in _get(paragraph, "qas", list, place):
        name = _get(asked, "id", str, place)
        here = f"{path}, question {name}"
        answers = [] if asked.get("is_impossible") else _get(asked, "answers", list, here)
        found = tuple(Answer(_get(each, "answer_start", int, here), _get(each, "text", str, here)) for each in answers)
        yield Question(path, name, _get(asked, "question", str, here), context, found)


def _get(value: Any, name: str, kind: type, place: str) -> Any:
    """Return a member of a JSON object.

    Raises:
        ValueError: the value is no object, or has no such member of this type.
    """
    if (
        not isinstance(value, Mapping)
        or not isinstance(value.get(name), kind)
        or (kind is str and not is_text(value[name]))
    ):
        raise ValueError(f"{place}: has no {name} of type {kind.__name__}; give a file in the form of SQuAD")
    return value[name]
