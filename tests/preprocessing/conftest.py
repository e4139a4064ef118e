"""A small corpus for tests, the same on every machine: made-up words in sentences, paragraphs and documents."""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from permissions import obeying_permissions

from preprocessing.__main__ import main


def make_documents(number: int, seed: int = 0) -> list[str]:
    """Return documents of 1 to 6 paragraphs of 1 to 5 sentences."""
    random = Random(seed)
    words = ["".join(random.choice("abcdefghij") for _ in range(random.randint(1, 8))) for _ in range(300)]

    def sentence() -> str:
        return " ".join(random.choices(words, k=random.randint(3, 20))).capitalize() + "."

    def paragraph() -> str:
        return " ".join(sentence() for _ in range(random.randint(1, 5)))

    return ["\n".join(paragraph() for _ in range(random.randint(1, 6))) for _ in range(number)]


def write_jsonl(path: Path, texts: list[str]) -> Path:
    """Write a JSON Lines file with these texts under `text`."""
    path.write_text("".join(json.dumps({"id": number, "text": text}) + "\n" for number, text in enumerate(texts)))
    return path


def make_corpus_in(folder: Path, documents: int = 200) -> Path:
    """Write a JSON Lines file of documents."""
    return write_jsonl(folder / "corpus.jsonl", make_documents(documents))


@pytest.fixture(scope="session")
def make_corpus() -> Callable[..., Path]:
    """The function that writes the corpus, or one of another number of documents, into a directory."""
    return make_corpus_in


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """The corpus of a test."""
    return make_corpus_in(tmp_path)


@pytest.fixture
def run_here(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> Callable[[list[str]], tuple[int, str]]:
    """A function that runs the command line in this process; returns the exit status and what a process writes on its
    stderr.
    """
    caplog.set_level("INFO")

    def run(arguments: list[str]) -> tuple[int, str]:
        caplog.clear()
        capsys.readouterr()
        status = main(arguments)
        return status, capsys.readouterr().err + "\n".join(caplog.messages)

    return run


@pytest.fixture
def finish_here(run_here: Callable[[list[str]], tuple[int, str]]) -> Callable[[list[str]], tuple[int, str]]:
    """A function that runs the command line in this process, bound by permissions; returns the exit status and the
    output.
    """
    return obeying_permissions()(run_here)
