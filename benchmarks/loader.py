"""Speed of the data path of training on one core: `python -m benchmarks.loader [--samples DIR]`.

Builds micro-batches in this process and in one worker process, and prints the median of rounds. Without `--samples`
it writes synthetic samples with the lengths of BERT's first phase (nine in ten fill 128 tokens, the others are uniform)
and a vocabulary in which a fifth of the pieces continue a word.
"""

import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from statistics import median

import numpy as np
from jsonargparse import auto_cli
from tokenizers import Tokenizer
from tokenizers.models import WordPiece

from pipeline.data.loader import BatchDivision, DataConfig, MicroBatches, make_loader
from pipeline.data.masking import MaskingConfig
from pipeline.data.order import deal, global_batch
from pipeline.data.template import Template
from preprocessing.files import sha256_file, write_text
from preprocessing.schema import PAIR_SPECIAL_TOKENS, Manifest, Split
from preprocessing.shards import SampleDataset, sample_batch, write_shard

VOCAB_SIZE, MAX_SEQ_LENGTH, NUM_SAMPLES = 30_522, 128, 200_000
GLOBAL_BATCH_SIZE, NUM_GROUPS = 65_536, 1_024
BATCHES_PER_ROUND = 100


def main(samples: Path | None = None, micro_batch_size: int = 64, rounds: int = 7) -> None:
    """Prints tokens per second of one core with and without whole-word masking, and the time to deal a large batch.

    Args:
        samples: directory that `python -m preprocessing` wrote; synthetic samples where none is given.
        micro_batch_size: samples of a micro-batch.
        rounds: measurements of which the median is printed.
    """
    with nullcontext(samples) if samples else tempfile.TemporaryDirectory() as directory:
        if not samples:
            write_synthetic(Path(directory))
        dataset = SampleDataset.open(Path(directory), "train")
        division = BatchDivision(64 * micro_batch_size, micro_batch_size, rank=0, world_size=1)
        for whole_word, num_workers in ((False, 0), (True, 0), (True, 1)):
            batches = MicroBatches(dataset, division, MaskingConfig(whole_word=whole_word), Template(), seed=0)
            config = DataConfig(Path(directory), num_workers)
            build = median(_tokens_per_second(batches, number, config) for number in range(rounds))
            place = "received from one worker process" if num_workers else "built in this process"
            words = "whole words" if whole_word else "tokens"
            print(f"micro-batches of {micro_batch_size} {place}, masking {words}: {build / 1e6:.2f} M tokens/s")
        order = _milliseconds(lambda: global_batch(0, GLOBAL_BATCH_SIZE, len(dataset), 0), rounds)
        lengths = np.resize(dataset.lengths, GLOBAL_BATCH_SIZE)
        dealing = _milliseconds(lambda: deal(lengths, NUM_GROUPS), rounds)
        print(f"order a global batch of {GLOBAL_BATCH_SIZE:,}: {order:.1f} ms")
        print(f"deal it to {NUM_GROUPS:,} micro-batches: {dealing:.1f} ms")


def write_synthetic(directory: Path) -> None:
    """Writes a samples directory of random sentence pairs and its tokenizer."""
    random = np.random.default_rng(0)
    full = MAX_SEQ_LENGTH - PAIR_SPECIAL_TOKENS
    lengths = np.where(random.random(NUM_SAMPLES) < 0.9, full, random.integers(2, full + 1, NUM_SAMPLES))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    tokens = random.integers(5, VOCAB_SIZE, offsets[-1])
    labels, documents = random.integers(0, 2, NUM_SAMPLES), np.zeros(NUM_SAMPLES)
    batch = sample_batch(tokens, offsets, random.integers(1, lengths), labels, documents, VOCAB_SIZE)
    shard = write_shard(directory / "train-00000.arrow", [batch], VOCAB_SIZE)

    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces += [f"##{number}" if number % 5 == 0 else f"{number}" for number in range(5, VOCAB_SIZE)]
    tokenizer = Tokenizer(WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]"))
    path = directory / "tokenizer" / "tokenizer.json"
    path.parent.mkdir()
    tokenizer.save(str(path))
    manifest = Manifest(VOCAB_SIZE, MAX_SEQ_LENGTH, "nsp", sha256_file(path), {}, {"train": Split.of([shard])})
    write_text(directory / "manifest.json", manifest.to_json())


def _tokens_per_second(batches: MicroBatches, round_number: int, config: DataConfig) -> float:
    """Tokens per second of one round, special tokens counted, after its first micro-batch, which starts the worker."""
    items = range(round_number * BATCHES_PER_ROUND, (round_number + 1) * BATCHES_PER_ROUND)
    loaded = iter(make_loader(batches, items, config, pin_memory=False))
    next(loaded)
    start = time.perf_counter()
    num_tokens = sum(len(batch.input_ids) for batch in loaded)
    return num_tokens / (time.perf_counter() - start)


def _milliseconds(function: Callable[[], object], rounds: int) -> float:
    """Median wall time of a call."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1e3 * median(times)


if __name__ == "__main__":
    auto_cli(main)
