"""The same text in the form that each side reads, written before the clock starts."""

import gzip
import json
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from preprocessing.tokenizer.saving import save_tokenizer
from preprocessing.tokenizer.wordpiece import make_tokenizer, read_vocabulary


@dataclass(frozen=True)
class Inputs:
    """The files of the text and of the tokenizer."""

    jsonl: Path
    """A JSON object with the key `text` per line."""
    lddl: Path
    """LDDL's `source` directory: a document per line, after its name."""
    tokenizer: Path
    """A directory that `transformers` loads."""
    vocab: Path
    """The vocab.txt of the tokenizer."""
    num_bytes: int
    """Bytes of text in UTF-8."""


def write_inputs(directory: Path, corpus: Path, vocab: Path, num_documents: int | None) -> Inputs:
    """Write the first documents of a JSON Lines file, or all, in every form.

    LDDL's downloader joins the lines of a document with a space, and here runs of white space become one.
    """
    inputs = Inputs(directory / "text.jsonl", directory / "lddl", directory / "tokenizer", vocab, 0)
    (inputs.lddl / "en").mkdir(parents=True)
    inputs.tokenizer.mkdir()
    save_tokenizer(make_tokenizer(read_vocabulary(vocab), lower_case=True), inputs.tokenizer)
    num_bytes = 0
    with (
        gzip.open(corpus, "rt", encoding="utf-8") if corpus.suffix == ".gz" else corpus.open(encoding="utf-8") as lines,
        inputs.jsonl.open("w", encoding="utf-8") as jsonl,
        (inputs.lddl / "en" / "0.txt").open("w", encoding="utf-8") as documents,
    ):
        for number, line in enumerate(islice(lines, num_documents)):
            text = json.loads(line)["text"]
            num_bytes += len(text.encode())
            jsonl.write(json.dumps({"text": text}) + "\n")
            documents.write(f"wiki-{number} {' '.join(text.split())}\n")
    return Inputs(inputs.jsonl, inputs.lddl, inputs.tokenizer, vocab, num_bytes)
