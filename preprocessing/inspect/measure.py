"""Measures a samples directory: counts its shards and decodes some samples."""

from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from preprocessing.inspect.counting import Counts, ShardTask, count_shard
from preprocessing.inspect.decoding import Example, example
from preprocessing.inspect.figures import Repeated, SamplesFigures, SplitFigures
from preprocessing.progress import progress
from preprocessing.schema import (
    HELDOUT,
    PAIR_SPECIAL_TOKENS,
    SINGLE_SPECIAL_TOKENS,
    TOKENIZER_DIRECTORY,
    TRAIN,
    Manifest,
    Shard,
    Split,
)
from preprocessing.segments.registry import strategy
from preprocessing.shards import SampleDataset
from preprocessing.tokenizer.registry import kind_of
from preprocessing.tokenizer.saving import load_tokenizer
from preprocessing.workers import SerialExecutor, run_tasks

_TOKENS_READ = 2 * 10**9
"""Most tokens read of a split, about a minute's work for one core. Of a larger split, evenly spread shards are read:
partitions, and so shards, are random samples of the corpus."""
_TOKENS_READ_HERE = 5 * 10**7
"""Most tokens that are counted in this process, in less time than starting others takes."""
_SAMPLES_COMPARED = 5 * 10**6
"""Approximate number of samples of a directory that are compared with each other; each needs 16 bytes."""
_REPEATED_SHOWN = 5
_FREQUENT_SHOWN = 20


@dataclass(frozen=True)
class SplitReader:
    """A split of a samples directory, and the selection of its shards that are read."""

    directory: Path
    """The samples directory."""
    manifest: Manifest
    """Manifest of the directory."""
    split: str
    """Name of the split."""
    tokenizer: Tokenizer
    """Tokenizer of the directory."""
    max_tokens: int = _TOKENS_READ
    """Most tokens to read; at least one shard is read."""

    @cached_property
    def shards(self) -> tuple[Shard, ...]:
        """All shards of the split."""
        return self.manifest.splits[self.split].shards

    @cached_property
    def first_rows(self) -> np.ndarray:
        """(S + 1,) index, in the split, of the first sample of each of the S shards, and the number of samples."""
        return np.cumsum([0, *(shard.rows for shard in self.shards)])

    @cached_property
    def chosen(self) -> np.ndarray:
        """Indices of the shards that are read."""
        tokens = self.manifest.splits[self.split].tokens
        return spread(len(self.shards), max(1, int(len(self.shards) * min(1, self.max_tokens / max(1, tokens)))))

    def task(self, number: int, one_in: int) -> ShardTask:
        """The task of counting shard `number`."""
        alone = replace(self.manifest, splits={self.split: Split.of([self.shards[number]])})
        return ShardTask(self.directory, self.split, alone, one_in)

    def example(self, index: int) -> Example:
        """Decodes sample `index` of the split."""
        number = int(np.searchsorted(self.first_rows, index, side="right")) - 1
        data, row = self.task(number, 1).open(), index - int(self.first_rows[number])
        return example(data, row, index, self.tokenizer, strategy(self.manifest.segments))

    def index(self, row: int) -> int:
        """Index, in the split, of sample `row` of the shards that are read."""
        read = np.cumsum([0, *(self.shards[number].rows for number in self.chosen)])
        place = int(np.searchsorted(read, row, side="right")) - 1
        return int(self.first_rows[self.chosen[place]] + row - read[place])


def measure(directory: Path, num_examples: int, executor: Executor) -> SamplesFigures:
    """Measures a samples directory.

    Args:
        directory: samples directory written by `build`.
        num_examples: number of decoded samples per split, evenly spread.
        executor: executor of the tasks that count shards.

    Raises:
        DataError: the directory is not a complete samples directory, or a shard has invalid content.
    """
    manifest = SampleDataset.open(directory, TRAIN).manifest
    SampleDataset.open(directory, HELDOUT)
    kind, tokenizer = strategy(manifest.segments), load_tokenizer(directory / TOKENIZER_DIRECTORY)
    sources = [SplitReader(directory, manifest, split, tokenizer) for split in (TRAIN, HELDOUT)]
    counts = _count(sources, executor)
    splits = [_figures(source, count, num_examples) for source, count in zip(sources, counts, strict=True)]
    train, heldout = (count.hashes for count in counts)
    shared = float(np.isin(heldout, train).mean()) if heldout.size else 0.0
    return SamplesFigures(directory, manifest, kind, splits, shared)


def _count(sources: list[SplitReader], executor: Executor) -> list[Counts]:
    """The counts of each split."""
    manifest = sources[0].manifest
    rows = sum(source.shards[number].rows for source in sources for number in source.chosen)
    tasks = [source.task(number, 1 + rows // _SAMPLES_COMPARED) for source in sources for number in source.chosen]
    shards = [task.manifest.splits[task.split].shards[0] for task in tasks]
    is_small = sum(shard.tokens for shard in shards) <= _TOKENS_READ_HERE
    with progress(sum(shard.bytes for shard in shards), f"inspect {sources[0].directory.name}") as bar:
        parts = run_tasks(
            SerialExecutor() if is_small else executor, count_shard, tasks, lambda n: bar.update(shards[n].bytes)
        )
    ends = np.cumsum([0, *(len(source.chosen) for source in sources)]).tolist()
    return [Counts.total([Counts.none(manifest), *parts[a:b]]) for a, b in pairwise(ends)]


def _figures(source: SplitReader, counts: Counts, num_examples: int) -> SplitFigures:
    special = special_ids(source.tokenizer)
    unknown = special["unk_token"]
    top = np.argsort(-counts.tokens, kind="stable")[:_FREQUENT_SHOWN]
    return SplitFigures(
        name=source.split,
        listed=source.manifest.splits[source.split],
        shards_read=len(source.chosen),
        counts=counts,
        unknown_id=unknown,
        special=int(counts.tokens[[number for number in special.values() if number != unknown]].sum()),
        special_tokens=SINGLE_SPECIAL_TOKENS * counts.samples
        + (PAIR_SPECIAL_TOKENS - SINGLE_SPECIAL_TOKENS) * counts.pairs,
        frequent=[
            (source.tokenizer.id_to_token(i) or "", int(counts.tokens[i])) for i in top.tolist() if counts.tokens[i]
        ],
        examples=[source.example(index) for index in spread(int(source.first_rows[-1]), num_examples).tolist()],
        repeated=_repeated(source, counts),
    )


def _repeated(source: SplitReader, counts: Counts) -> list[Repeated]:
    """The most frequent samples that occur more than once; of equally frequent ones the first."""
    _, first, occurrences = np.unique(counts.hashes, return_index=True, return_counts=True)
    order = np.lexsort((first, -occurrences))[:_REPEATED_SHOWN]
    return [
        Repeated(int(occurrences[place]), source.example(source.index(int(counts.rows[first[place]]))))
        for place in order
        if occurrences[place] > 1
    ]


def special_ids(tokenizer: Tokenizer) -> dict[str, int]:
    """Ids of the special tokens by their names in `transformers`."""
    ids = {name: tokenizer.token_to_id(token) for name, token in kind_of(tokenizer).special_tokens.items()}
    return {name: number for name, number in ids.items() if number is not None}


def spread(total: int, count: int) -> np.ndarray:
    """At most `count` evenly spread indices of [0, total)."""
    return np.unique(np.linspace(0, total - 1, min(count, total)).astype(np.int64))
