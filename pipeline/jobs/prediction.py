"""Predictions of a model for the examples of a file or of standard input."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from pipeline.conversion import huggingface, task_models, vocabulary
from pipeline.conversion.fitting import require_rows
from pipeline.conversion.task_models import Loaded
from pipeline.jobs.finetuning.inputs import read_sequences
from pipeline.jobs.inference import default_device
from pipeline.jobs.predictions import answer, choose, classify, embed, fill, tag
from pipeline.jobs.predictions.base import Kind, Predictor, Reading
from pipeline.tasks.lines import decoded_lines, numbered_lines
from pipeline.tasks.tables import SUFFIXES, Row, json_rows, read_rows
from preprocessing.files import atomic_path

STANDARD_INPUT, TEXTS = "standard input", ".txt"
WINDOW = 4096
"""Examples that are read before they are computed in batches of similar length."""
KINDS: Mapping[str, Kind] = {
    "sequence": classify,
    "tokens": tag,
    "spans": answer,
    "choices": choose,
    embed.KIND: embed,
    fill.KIND: fill,
}
"""Kinds of prediction by the name of the model's head (`Family.heads`), and those that need none of these heads."""
LOADERS: Mapping[str, Callable[[Path, Any], Loaded]] = {embed.KIND: embed.load, fill.KIND: fill.load}
"""Functions of (directory, tokenizer) that read the model of the kinds that the user names."""


@contextmanager
def opened(out: Path) -> Iterator[TextIO]:
    """Yield the file for the predictions, which appears whole or not at all and replaces an existing one.

    A link, a pipe or a device, such as /dev/stdout, is written directly.

    Raises:
        ValueError: it is a directory, or its directory does not exist.
    """
    if out.is_dir() or not out.parent.is_dir():
        raise ValueError(f"--out {out}: must be a file in an existing directory; name one, or create the directory")
    if out.is_symlink() or (out.exists() and not out.is_file()):
        with out.open("w", encoding="utf-8") as file:
            yield file
    else:
        with atomic_path(out) as temporary, temporary.open("w", encoding="utf-8") as file:
            yield file


def write_predictions(directory: Path, file: Path | None, reading: Reading, out: TextIO) -> None:
    """Write a JSON object per example, in the order of the examples.

    Args:
        directory: a model; the class in its `config.json` decides what is predicted, unless `reading.kind` does.
        file: the examples; None: the lines of standard input.
        reading: how they are read.
        out: receives the lines.

    Raises:
        ValueError: the directory holds no model for the prediction, or an example cannot be read.
        OSError: the file cannot be read.
    """
    predictor = open_predictor(directory, reading)
    kind = KINDS[predictor.loaded.head]
    rows = iter(read_examples(file, kind.columns(reading)))
    while window := list(islice(rows, WINDOW)):
        for shown in kind.predict(predictor, window):
            out.write(json.dumps(shown, ensure_ascii=False) + "\n")
        out.flush()


def open_predictor(directory: Path, reading: Reading) -> Predictor:
    """Return a model with its tokenizer.

    Raises:
        ValueError: the directory holds no model for the prediction, one that cannot be used for the length, or one
            that has fewer tokens than its tokenizer.
    """
    tokenizer = huggingface.load_tokenizer(directory)
    loaded = LOADERS[reading.kind](directory, tokenizer) if reading.kind else task_models.read(directory)
    longest = huggingface.longest_sequence(loaded.family, loaded.config)
    if reading.max_length > longest:
        raise ValueError(f"--max_length {reading.max_length}: must be at most {longest}, the positions of {directory}")
    try:
        require_rows(loaded.vocab_size, vocabulary.size_of(tokenizer))
    except ValueError as error:
        raise ValueError(f"{directory}: {error}") from None
    sequences = read_sequences(directory, tokenizer, loaded.family, reading.max_length or longest)
    loaded.model.to(default_device())
    return Predictor(loaded, tokenizer, sequences, reading)


def read_examples(file: Path | None, columns: tuple[str, ...]) -> Iterable[Row]:
    """Return the rows of a table, or each line of a text file or of standard input as a row.

    A line of standard input is a text, or a JSON object where examples have two texts.

    Raises:
        ValueError: the lines of a text file are read where examples have two texts, or a file does not exist, has no
            examples or is not in its format.
    """
    if file is None:
        lines = decoded_lines(sys.stdin.buffer, STANDARD_INPUT)
        return json_rows(lines, STANDARD_INPUT) if len(columns) > 1 else _texts(lines, STANDARD_INPUT, columns[0])
    if not file.exists():
        raise ValueError(f"{file}: does not exist; name the file with the examples")
    if file.suffix not in (TEXTS, *SUFFIXES):
        raise ValueError(f"{file}: the name must end in {TEXTS} or {', '.join(SUFFIXES)}, which states the format")
    if file.suffix != TEXTS:
        return read_rows(file)
    if len(columns) > 1:
        raise ValueError(f"{file}: has one text a line, but an example has {' and '.join(columns)}; give a table")
    texts = list(_texts(numbered_lines(file), str(file), columns[0]))
    if not texts:
        raise ValueError(f"{file}: has no examples; give a file with a text in each line")
    return texts


def _texts(lines: Iterable[tuple[int, str]], place: str, column: str) -> Iterator[Row]:
    for number, line in lines:
        if line.strip():
            yield Row(f"{place}:{number}", {column: line.strip()})
