"""Figures of a samples directory, from which tables, plots and warnings are made."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from preprocessing.inspect.counting import Counts
from preprocessing.inspect.decoding import Example
from preprocessing.schema import Manifest, Split
from preprocessing.segments.registry import Strategy


@dataclass(frozen=True)
class Repeated:
    """A sample that occurs more than once."""

    count: int
    """Number of occurrences."""
    example: Example
    """The first occurrence."""


@dataclass(frozen=True)
class SplitFigures:
    """Figures of one split."""

    name: str
    """`train` or `heldout`."""
    listed: Split
    """The split in the manifest."""
    shards_read: int
    """Number of shards that were counted."""
    counts: Counts
    """Counts of these shards."""
    unknown_id: int
    """Id of the unknown token."""
    special: int
    """Number of occurrences of other special tokens, which text does not contain."""
    special_tokens: int
    """Number of special tokens that training adds to the counted samples."""
    frequent: list[tuple[str, int]]
    """The most frequent tokens and their numbers of occurrences."""
    examples: list[Example]
    """Decoded samples, evenly spread."""
    repeated: list[Repeated]
    """The most frequent samples that occur more than once."""

    @property
    def bytes(self) -> int:
        """Size of all shards in bytes."""
        return sum(shard.bytes for shard in self.listed.shards)

    @property
    def tokens(self) -> int:
        """Number of counted text tokens."""
        return int(self.counts.tokens.sum())

    @property
    def mean_length(self) -> float:
        """Mean number of text tokens per sample."""
        return self.tokens / self.counts.samples

    @property
    def padding(self) -> float:
        """Share of padding if every sample were padded to max_seq_length."""
        longest = len(self.counts.lengths) - 1
        return 1 - (self.tokens + self.special_tokens) / (self.counts.samples * longest)

    @property
    def single_share(self) -> float:
        """Share of the samples without a segment B."""
        return 1 - self.counts.pairs / self.counts.samples

    @property
    def label_shares(self) -> np.ndarray:
        """(2,) share of the samples with each label."""
        return self.counts.labels / self.counts.samples

    @property
    def unknown_share(self) -> float:
        """Share of the tokens that are the unknown token."""
        return float(self.counts.tokens[self.unknown_id] / self.tokens)

    @property
    def vocabulary_share(self) -> float:
        """Share of the vocabulary that occurs."""
        return float(np.mean(self.counts.tokens > 0))

    @property
    def compared(self) -> int:
        """Number of samples compared with each other."""
        return len(self.counts.hashes)

    @property
    def repeated_share(self) -> float:
        """Share of the samples compared that equal an earlier one."""
        return (self.compared - np.unique(self.counts.hashes).size) / max(1, self.compared)


@dataclass(frozen=True)
class SamplesFigures:
    """Figures of a samples directory."""

    directory: Path
    """Path of the directory."""
    manifest: Manifest
    """Its manifest."""
    kind: Strategy
    """Strategy that made its samples."""
    splits: list[SplitFigures]
    """Figures of train and held out, in this order."""
    heldout_in_train: float
    """Share of the compared held-out samples that equal a training sample."""

    def cross_entropy(self, split: SplitFigures) -> float:
        """Cross entropy of the tokens of a split under the frequencies of tokens in train, in nats.

        One is added to each count of train, so that tokens that occur in the split alone have a probability.
        """
        train = next(each for each in self.splits if each.name == "train").counts.tokens + 1.0
        return float(-(split.counts.tokens @ np.log(train / train.sum())) / split.tokens)

    @property
    def filled(self) -> list[SplitFigures]:
        """The splits that have samples."""
        return [split for split in self.splits if split.counts.samples]

    @property
    def build(self) -> dict[str, Any]:
        """The options of the build stage."""
        return self.manifest.config.get("build", {})
