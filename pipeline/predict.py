"""Predictions of a model, one JSON object a line: `python -m pipeline.predict MODEL [FILE] [--out FILE]`.

echo "A moving film." | python -m pipeline.predict runs/sst2/model
{"text": "A moving film.", "label": "1", "score": 0.9973}

With --kind embed or fill the model need not be fine-tuned.
"""

import sys
from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentParser

from pipeline.runtime import command


def predict(arguments: list[str]) -> None:
    """Parse the command line and write a prediction for each example.

    Raises:
        ValueError: the model or an example cannot be used; the message names the file and the line.
        OSError: a file cannot be read or written.
    """
    chosen = _parser().parse_args(arguments)
    if chosen.max_tokens < 1:
        raise ValueError(f"--max_tokens {chosen.max_tokens}: must be at least 1")
    if chosen.max_length and chosen.max_length < 3:
        raise ValueError(f"--max_length {chosen.max_length}: must be at least 3; special tokens are included")
    if chosen.top < 1:
        raise ValueError(f"--top {chosen.top}: must be at least 1")
    if chosen.normalize and chosen.kind != "embed":
        raise ValueError("--normalize true: only embeddings are normalised; give --kind embed")
    # Imported here, because help texts and errors of options do not need torch.
    from pipeline.jobs.prediction import opened, write_predictions
    from pipeline.jobs.predictions.base import Reading

    reading = Reading(
        chosen.first,
        chosen.second,
        chosen.max_length,
        chosen.max_tokens,
        kind=chosen.kind,
        normalize=chosen.normalize,
        top=chosen.top,
    )
    if chosen.out is None:
        write_predictions(chosen.model, chosen.file, reading, sys.stdout)
    else:
        with opened(chosen.out) as out:
            write_predictions(chosen.model, chosen.file, reading, out)


def _parser() -> ArgumentParser:
    description = (
        "Predict with a fine-tuned model: classes of texts or of pairs of texts, tags of the words of texts, answers "
        "to questions about contexts, or the best of several endings; or with any model: embeddings of texts, or words "
        "for masks. One JSON object is written per example."
    )
    parser = ArgumentParser(prog=command.program("pipeline.predict"), description=description, exit_on_error=False)
    parser.add_argument("model", type=Path, help="Directory of a model, such as runs/sst2/model.")
    parser.add_argument(
        "file",
        type=Path,
        nargs="?",
        help="Examples: a text in each line (.txt), or a table (.tsv, .csv, .jsonl, .parquet). Without it, standard "
        "input is read: a text in each line, or a JSON object where examples have two texts.",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="File to write, which appears when all predictions are made; standard output by default.",
    )
    parser.add_argument(
        "--kind",
        type=Literal["", "embed", "fill"],
        default="",
        help="embed: the mean of the last hidden states of each text; fill: the most likely words for each mask, by a "
        "pre-trained model. By default the class of a fine-tuned model decides.",
    )
    parser.add_argument("--normalize", type=bool, default=False, help="Whether embeddings have the length 1.")
    parser.add_argument("--top", type=int, default=5, help="Number of words for each mask.")
    parser.add_argument(
        "--first",
        type=str,
        default="",
        help="Column of a table with the text (default: text) or the question (default: question).",
    )
    parser.add_argument(
        "--second",
        type=str,
        default="",
        help="Column with the second text of a pair (default: none) or the context of a question (default: context).",
    )
    parser.add_argument(
        "--max_length",
        type=int,
        default=0,
        help="Tokens of the longest sequence, 0: as many as the model has positions. Longer texts are cut; texts with "
        "tags and contexts of questions are divided.",
    )
    parser.add_argument("--max_tokens", type=int, default=16384, help="Bound on the tokens that are computed at once.")
    return parser


def main() -> None:
    """The installed command `bert-predict`."""
    command.main(predict)


if __name__ == "__main__":
    main()
