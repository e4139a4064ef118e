"""The sides of benchmarks/preprocessing.py: their commands, and counts of their output."""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.peers.inputs import Inputs
from preprocessing.schema import ACTUAL_NEXT
from preprocessing.shards import SampleDataset

MAX_SEQ_LENGTH = 128
NUM_PARTITIONS = 2
"""Partitions of the text for `this` and for LDDL, one per core. Both draw random sentences within a partition."""
_SPECIAL_TOKENS = 3
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Output:
    """Counts of the output of a side."""

    seconds: float | None
    """Seconds by its own clock, without start and end of the interpreter; None if it has no clock."""
    tokens: int
    """Text tokens in its samples; for a ceiling, all tokens of the text."""
    samples: int | None = None
    own_tokens: int | None = None
    """Tokens that stand as in the text: those of A, and those of B where B follows A. Each token of the text counts at
    most once. None if the samples are not pairs."""
    bytes: int | None = None
    """Size of its files."""


@dataclass(frozen=True)
class Side:
    """A program that makes samples of text, or does a part of that work."""

    command: Callable[[Inputs, str, Path, int], list[str]]
    """(inputs, Python's path, output directory, number of workers) -> the command line."""
    output: Callable[[Path, str], Output]
    """(output directory, printed text) -> counts of its output."""
    environment: str = "this"
    """Name of the environment whose Python runs it."""
    is_ceiling: bool = False
    """Whether it does a part of the work only, and is timed without its start."""

    def variables(self, num_cores: int) -> dict[str, str]:
        """Return the environment variables; only sides without worker processes use threads."""
        threaded = self.is_ceiling and num_cores > 1
        return {
            "TOKENIZERS_PARALLELISM": str(threaded).lower(),
            "RAYON_NUM_THREADS": str(num_cores),
            "PYTHONWARNINGS": "ignore",
        }


def preprocessing(
    stage: str, inputs: Inputs, out: Path, workers: int, num_partitions: int = NUM_PARTITIONS
) -> list[str]:
    """Return the command of this project on all the text, in as many splits as partitions."""
    megabytes = str(inputs.jsonl.stat().st_size / 10**6 / num_partitions)
    sizes = ["--partition_mb", megabytes, "--split_mb", megabytes]
    options = {
        "extract": ["--sources", f"jsonl:{inputs.jsonl}", "--heldout_share", "0", *sizes],
        "tokenizer": ["--vocab", str(inputs.vocab)],
        "build": ["--max_seq_length", str(MAX_SEQ_LENGTH)],
    }
    chosen = [*options["extract"], *options["tokenizer"], *options["build"]] if stage == "run" else options[stage]
    return [sys.executable, "-m", "preprocessing", stage, "--out", str(out), "--workers", str(workers), *chosen]


def _lddl(inputs: Inputs, python: str, out: Path, workers: int) -> list[str]:
    block = -(-(inputs.lddl / "en" / "0.txt").stat().st_size // NUM_PARTITIONS)
    options = {
        "schedule": "local",
        "local-n-workers": workers,
        "wikipedia": inputs.lddl,
        "sink": out,
        "block-size": f"{block}b",
        "sample-ratio": 1.0,
        "duplicate-factor": 1,
        "target-seq-length": MAX_SEQ_LENGTH,
        "vocab-file": inputs.vocab,
    }
    return [python, str(_HERE / "lddl_shim.py"), *(f"--{name}={value}" for name, value in options.items())]


def _blocks(inputs: Inputs, python: str, out: Path, workers: int) -> list[str]:
    tokenizer = str(inputs.tokenizer / "tokenizer.json")
    return [python, str(_HERE / "blocks.py"), str(inputs.jsonl), tokenizer, str(out), str(workers), str(MAX_SEQ_LENGTH)]


def _ceiling(what: str) -> Callable[[Inputs, str, Path, int], list[str]]:
    def command(inputs: Inputs, python: str, out: Path, workers: int) -> list[str]:
        tokenizer = str(inputs.tokenizer / "tokenizer.json")
        return [python, "-m", "benchmarks.peers.ceiling", str(inputs.jsonl), tokenizer, what]

    return command


def _our_samples(out: Path, _: str) -> Output:
    dataset = SampleDataset.open(out / f"samples{MAX_SEQ_LENGTH}", "train")
    own = np.where(dataset.labels == ACTUAL_NEXT, dataset.lengths, dataset.boundaries).sum()
    size = sum(shard.bytes for shard in dataset.shards)
    return Output(None, int(dataset.lengths.sum()), len(dataset), int(own), size)


def _lddl_samples(out: Path, printed: str) -> Output:
    files = sorted(out.glob("part*.parquet"))
    pairs = pa.concat_tables([pq.read_table(file) for file in files])
    lengths = pc.subtract(pairs["num_tokens"].cast(pa.int64()), _SPECIAL_TOKENS)
    a_lengths = pc.add(pc.count_substring(pairs["A"], " "), 1)
    own = pc.sum(pc.if_else(pairs["is_random_next"], a_lengths.cast(pa.int64()), lengths))
    size = sum(file.stat().st_size for file in files)
    return Output(_clock(printed), pc.sum(lengths).as_py(), len(pairs), own.as_py(), size)


def _huggingface_blocks(_: Path, printed: str) -> Output:
    files = [Path(name) for name in re.findall(r"^blocks: (.+)$", printed, re.MULTILINE)]
    samples = sum(pa.ipc.open_stream(pa.memory_map(str(file))).read_all().num_rows for file in files)
    return Output(_clock(printed), samples * MAX_SEQ_LENGTH, samples, None, sum(file.stat().st_size for file in files))


def _all_tokens(_: Path, printed: str) -> Output:
    return Output(_clock(printed), int(re.findall(r"^tokens: (\d+)$", printed, re.MULTILINE)[0]))


def _clock(printed: str) -> float:
    """Return the time that the program prints; LDDL counts from the start of its cluster."""
    return float(re.findall(r" took ([\d.]+) s$", printed, re.MULTILINE)[0])


SIDES = {
    "this": Side(lambda inputs, _, out, workers: preprocessing("run", inputs, out, workers), _our_samples),
    "LDDL 0.1.0": Side(_lddl, _lddl_samples, "lddl"),
    "Hugging Face run_mlm": Side(_blocks, _huggingface_blocks, "huggingface"),
    "ceiling: sentences, encode_batch": Side(_ceiling("batch"), _all_tokens, is_ceiling=True),
    "ceiling: encode_batch_fast": Side(_ceiling("fast"), _all_tokens, is_ceiling=True),
}
