"""Third stage: documents and tokenizer -> shards of samples, one shard per partition."""

import shutil
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from pathlib import Path

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from preprocessing.corpus.corpus import Corpus
from preprocessing.corpus.mixing import occurrences
from preprocessing.errors import DataError
from preprocessing.files import atomic_path, sha256_file, write_text
from preprocessing.options import BuildConfig, check_weights
from preprocessing.progress import LOG, progress
from preprocessing.schema import HELDOUT, MANIFEST_NAME, TOKENIZER_DIRECTORY, TRAIN, Manifest, Shard, Split
from preprocessing.segments.layout import Layout, Samples, random_numbers
from preprocessing.segments.registry import strategy
from preprocessing.shards import read_manifest, sample_batch, write_shard
from preprocessing.stage_directory import complete_stage, finish_file, open_stage, stage_config
from preprocessing.tokenizer.encoding import encode
from preprocessing.tokenizer.registry import size_of
from preprocessing.tokenizer.saving import load_tokenizer, tokenizer_files
from preprocessing.workers import run_tasks

SPLITS = (TRAIN, HELDOUT)

_RANGES_AT_ONCE = 10_000
"""Ranges per step: a range as a Python object takes as much memory as its tokens."""


@dataclass(frozen=True)
class BuildTask:
    """Task of a worker: make one shard."""

    documents: Path
    directory: Path
    split: str
    number: int
    partitions: list[int]
    first_document: int
    config: BuildConfig


def build(directory: Path, config: BuildConfig, documents: Path, tokenizer: Path, executor: Executor) -> Manifest:
    """Makes a samples directory from a documents and a tokenizer directory; resumes an interrupted run.

    Raises:
        DataError: an earlier stage is not complete, a split has too few documents or no sample, or `directory` has
            other content.
    """
    corpus = Corpus.open(documents)
    check_weights(config.weights, corpus.sources)
    if not (tokenizer / MANIFEST_NAME).is_file():
        raise DataError(f"{tokenizer}: no {MANIFEST_NAME}; run `python -m preprocessing tokenizer` to its end first")
    tokenizer_sha256 = sha256_file(tokenizer / "tokenizer.json")
    inputs = {"documents_sha256": corpus.sha256, "tokenizer_sha256": tokenizer_sha256}
    tasks = shard_tasks(corpus, directory, config)
    options = asdict(config) | {"short_seq_prob": config.short_share}
    if not open_stage(directory, "build", options, inputs):
        _copy_tokenizer(tokenizer, directory / TOKENIZER_DIRECTORY)
        sizes = [sum(corpus.sizes[partition] for partition in task.partitions) for task in tasks]
        with progress(sum(sizes), "build") as bar:
            shards = run_tasks(executor, build_shard, tasks, lambda number: bar.update(sizes[number]))
        splits = {name: Split.of([s for s, t in zip(shards, tasks, strict=True) if t.split == name]) for name in SPLITS}
        _check_samples(directory, splits, corpus, config.segments)
        manifest = Manifest(
            vocab_size=size_of(load_tokenizer(tokenizer)),
            max_seq_length=config.max_seq_length,
            segments=config.segments,
            tokenizer_sha256=tokenizer_sha256,
            config={"extract": stage_config(documents), "tokenizer": stage_config(tokenizer), "build": options},
            splits=splits,
        )
        complete_stage(directory, lambda: write_text(directory / MANIFEST_NAME, manifest.to_json()))
    manifest = read_manifest(directory)
    for name, split in manifest.splits.items():
        LOG.info(f"{directory}: {name}: {split.rows:,} samples, {split.tokens:,} tokens in {len(split.shards)} shards")
    return manifest


def shard_tasks(corpus: Corpus, directory: Path, config: BuildConfig) -> list[BuildTask]:
    """The tasks, one per shard: a partition, or several consecutive ones if one has too few documents.

    Raises:
        DataError: a split has too few documents.
    """
    tasks, needed = [], strategy(config.segments).min_documents
    first_documents = [0, *accumulate(corpus.counts)]
    for split in SPLITS:
        partitions = corpus.partitioning.partitions(split)
        counts = [corpus.counts[partition] for partition in partitions]
        if partitions and sum(counts) < needed:
            raise DataError(
                f"{corpus.directory}: {sum(counts)} of {sum(corpus.counts)} documents are in split {split}, segments "
                f"{config.segments} needs at least {needed}: {_more_documents(split, corpus, needed)}"
            )
        for number, group in enumerate(join_small(counts, needed)):
            chosen = [partitions[index] for index in group]
            tasks.append(
                BuildTask(corpus.directory, directory, split, number, chosen, first_documents[chosen[0]], config)
            )
    return tasks


def _more_documents(split: str, corpus: Corpus, needed: int) -> str:
    """The remedy for a split with fewer than `needed` documents."""
    total, share = sum(corpus.counts), corpus.partitioning.heldout_share
    remedies = []
    if share and total >= 2 * needed:
        remedies.append(f"another --heldout_share than {share:g}, {'larger' if split == HELDOUT else 'smaller'}")
    if share and total >= needed:
        remedies.append("none (--heldout_share 0)")
    if not remedies:
        return "give more documents"
    return f"give more documents, or remove this directory and give {', or '.join(remedies)}"


def join_small(counts: list[int], needed: int) -> list[list[int]]:
    """Groups consecutive partitions to the shortest runs with at least `needed` documents each.

    Small partitions occur by chance in corpora of few, long documents, so they are joined instead of being an error.

    Args:
        counts: number of documents of each partition; at least `needed` in total, or no partitions.
        needed: fewest documents of a run, at least 1.

    Returns:
        Indices of the partitions of each run.
    """
    groups: list[list[int]] = []
    held = needed
    for index, count in enumerate(counts):
        if held >= needed:
            groups.append([])
            held = 0
        groups[-1].append(index)
        held += count
    if held < needed:
        last = groups.pop()
        groups[-1] += last
    return groups


def build_shard(task: BuildTask) -> Shard:
    """Makes one shard, unless an earlier run finished it."""
    path = task.directory / f"{task.split}-{task.number:05d}.arrow"

    def make() -> dict:
        tokenizer = load_tokenizer(task.directory / TOKENIZER_DIRECTORY)
        corpus = Corpus.open(task.documents)
        tokens = np.zeros(len(corpus.sources), np.int64)
        shard = write_shard(path, _batches(task, corpus, tokenizer, tokens), size_of(tokenizer))
        return asdict(replace(shard, tokens_by_source=dict(zip(corpus.sources, tokens.tolist(), strict=True))))

    return Shard(**finish_file(task.directory, path.stem, make))


def _batches(
    task: BuildTask, corpus: Corpus, tokenizer: Tokenizer, tokens_by_source: np.ndarray
) -> Iterator[pa.RecordBatch]:
    """The samples of each pass over the partitions of a task; counts their tokens in `tokens_by_source`.

    For held-out data there is one pass, which takes each document once.
    """
    documents = _encode(corpus, task.partitions, tokenizer)
    sources = np.concatenate([corpus.sources_of(partition) for partition in task.partitions])  # (D,)
    make_samples = strategy(task.config.segments).samples
    for number in range(task.config.duplicates if task.split == TRAIN else 1):
        numbers, taken = np.arange(len(documents)), documents
        if task.config.weights and task.split == TRAIN:
            phases = random_numbers(task.config.seed, "weights", task.number)
            numbers = occurrences(np.array(task.config.weights)[sources], number, phases)
            taken = documents.take(pa.array(numbers))
        random = random_numbers(task.config.seed, number, task.split, task.number)
        layout = layout_of(taken, numbers)
        samples = make_samples(layout, task.config.max_seq_length, task.config.short_share, random)
        samples[:, 5] = numbers[samples[:, 5]]
        np.add.at(tokens_by_source, sources[samples[:, 5]], _lengths(samples))
        yield gather(taken.values.values.to_numpy(), samples, task.first_document, size_of(tokenizer))


def _encode(corpus: Corpus, partitions: list[int], tokenizer: Tokenizer) -> pa.ListArray:
    """The documents of these partitions (D,) as lists of sentences of token ids; the text is read chunk by chunk."""
    chunks = (chunk for partition in partitions for chunk in corpus.chunks(partition))
    return pa.concat_arrays(
        [pa.ListArray.from_arrays(chunk.offsets, encode(tokenizer, chunk.flatten())) for chunk in chunks]
    )


def layout_of(documents: pa.ListArray, numbers: np.ndarray) -> Layout:
    """The layout of documents, without sentences that have no token, such as one of control characters.

    Args:
        documents: (D,) lists of sentences, which are lists of tokens.
        numbers: (D,) number of each document in the partition.
    """
    sentences = documents.values.offsets.to_numpy()  # (S + 1,) where each starts in the tokens
    kept = np.diff(sentences) > 0  # (S,)
    before = np.concatenate([[0], np.cumsum(kept)])  # (S + 1,)
    return Layout(
        [*sentences[:-1][kept].tolist(), int(sentences[-1])],
        before[documents.offsets.to_numpy()].tolist(),
        numbers.tolist(),
    )


def gather(tokens: np.ndarray, samples: Samples, first_document: int, vocab_size: int) -> pa.RecordBatch:
    """The rows of a shard: the samples (N, 6), with their tokens copied from those of the partition (T,)."""
    ranges = samples[:, :4].reshape(-1, 2)  # A and B alternate
    blocks = np.split(ranges, range(_RANGES_AT_ONCE, len(ranges), _RANGES_AT_ONCE))
    return sample_batch(
        np.concatenate([_take(tokens, block) for block in blocks]),
        np.concatenate([[0], np.cumsum(_lengths(samples))]),
        boundaries=samples[:, 1] - samples[:, 0],
        labels=samples[:, 4],
        documents=samples[:, 5] + first_document,
        vocab_size=vocab_size,
    )


def _lengths(samples: Samples) -> np.ndarray:
    """(N,) number of text tokens of each sample."""
    a_start, a_stop, b_start, b_stop = samples[:, :4].T
    return a_stop - a_start + b_stop - b_start


def _take(tokens: np.ndarray, ranges: np.ndarray) -> np.ndarray:
    """The concatenated tokens of the ranges (N, 2)."""
    return np.concatenate([tokens[:0], *(tokens[start:stop] for start, stop in ranges.tolist())])


def _check_samples(directory: Path, splits: dict[str, Split], corpus: Corpus, segments: str) -> None:
    for name, split in splits.items():
        if corpus.partitioning.partitions(name) and not split.rows:
            raise DataError(
                f"{directory}: no document of split {name} gives a sample for segments {segments}: none has a token, "
                "or, for sop, two sentences; give other documents, or other --segments"
            )


def _copy_tokenizer(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for path in tokenizer_files(source):
        with atomic_path(target / path.name) as temporary:
            shutil.copyfile(path, temporary)
