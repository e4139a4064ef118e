"""The least time of splitting sentences and of the Rust tokenizer, on text that is in memory.

The clock starts after imports and reading. The threads are those of `tokenizers` (RAYON_NUM_THREADS).
"""

import argparse
import json
import time
from pathlib import Path

from tokenizers import Tokenizer

from preprocessing.sentences import split_sentences

_TEXTS_AT_ONCE = 10_000
_MAX_CHARS = 10_000


def main(text: Path, tokenizer_file: Path, what: str) -> None:
    """Print the seconds and the number of tokens.

    Args:
        text: JSON Lines.
        tokenizer_file: a tokenizer.json.
        what: `batch` times split_sentences and encode_batch; `fast` times encode_batch_fast on divided sentences.
    """
    documents = [json.loads(line)["text"] for line in text.open(encoding="utf-8")]
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.encode_special_tokens = True
    sentences = split(documents) if what == "fast" else []
    start = time.perf_counter()
    encode = tokenizer.encode_batch_fast if what == "fast" else tokenizer.encode_batch
    num_tokens = 0
    for texts in chunks(sentences or split(documents)):
        num_tokens += sum(len(encoding) for encoding in encode(texts, add_special_tokens=False))
    print(f"main took {time.perf_counter() - start:.3f} s")
    print(f"tokens: {num_tokens}")


def split(documents: list[str]) -> list[str]:
    """Return the sentences of all documents."""
    return [sentence for document in documents for sentence in split_sentences(document, "en", _MAX_CHARS)[0]]


def chunks(texts: list[str]) -> list[list[str]]:
    """Return the texts in runs, because an encoding is many times larger than its text."""
    return [texts[at : at + _TEXTS_AT_ONCE] for at in range(0, len(texts), _TEXTS_AT_ONCE)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("text", type=Path)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("what", choices=["batch", "fast"])
    options = parser.parse_args()
    main(options.text, options.tokenizer, options.what)
