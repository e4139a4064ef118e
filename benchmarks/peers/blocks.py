"""Blocks of tokens by Hugging Face `datasets`, as run_mlm.py in transformers' examples for language modeling makes
them.

One `map` tokenizes documents with the fast tokenizer, and another joins them and cuts blocks. There are neither
sentences nor pairs.
"""

import argparse
import time
from itertools import chain
from pathlib import Path
from typing import Any

import datasets
import transformers

Columns = dict[str, list[Any]]


def main(text: Path, tokenizer_file: Path, out: Path, num_proc: int, block_size: int) -> None:
    """Write the blocks as the Arrow files of a cache under `out`, and print their paths."""
    start = time.perf_counter()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tokenizer_file))
    documents = datasets.load_dataset("json", data_files=str(text), split="train", cache_dir=str(out))

    def tokenize(batch: Columns) -> Any:
        return tokenizer(batch["text"], return_special_tokens_mask=True)

    def cut(batch: Columns) -> Columns:
        joined = {name: [*chain.from_iterable(lists)] for name, lists in batch.items()}
        stop = len(joined["input_ids"]) // block_size * block_size
        return {
            name: [tokens[at : at + block_size] for at in range(0, stop, block_size)] for name, tokens in joined.items()
        }

    workers = num_proc if num_proc > 1 else None
    tokenized = documents.map(tokenize, batched=True, num_proc=workers, remove_columns=documents.column_names)
    blocks = tokenized.map(cut, batched=True, num_proc=workers)
    print(f"main took {time.perf_counter() - start:.3f} s")
    for file in blocks.cache_files:
        print(f"blocks: {file['filename']}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name, kind in (("text", Path), ("tokenizer", Path), ("out", Path), ("workers", int), ("block_size", int)):
        parser.add_argument(name, type=kind)
    options = parser.parse_args()
    datasets.disable_progress_bars()
    main(options.text, options.tokenizer, options.out, options.workers, options.block_size)
