"""What a samples directory holds, as numbers: everything that is judged or shown of it."""

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
    """How often."""
    example: Example
    """The first of them."""


@dataclass(frozen=True)
class SplitFigures:
    """One split."""

    name: str
    """`train` or `heldout`."""
    listed: Split
    """What the manifest says of all its shards."""
    shards_read: int
    """Number of shards that `counts` is from."""
    counts: Counts
    """What was counted in them."""
    unknown_id: int
    """Id of the unknown token."""
    special: int
    """How many are another special token; text has none."""
    special_tokens: int
    """How many special tokens training adds to the samples counted."""
    frequent: list[tuple[str, int]]
    """The most frequent tokens and how often they occur."""
    examples: list[Example]
    """Evenly spread samples."""
    repeated: list[Repeated]
    """The most frequent samples, if any occurs twice."""

    @property
    def bytes(self) -> int:
        """Size of all shards."""
        return sum(shard.bytes for shard in self.listed.shards)

    @property
    def tokens(self) -> int:
        """Number of text tokens counted."""
        return int(self.counts.tokens.sum())

    @property
    def mean_length(self) -> float:
        """Text tokens per sample."""
        return self.tokens / self.counts.samples

    @property
    def padding(self) -> float:
        """Share of padding if each sample took the whole of max_seq_length."""
        longest = len(self.counts.lengths) - 1
        return 1 - (self.tokens + self.special_tokens) / (self.counts.samples * longest)

    @property
    def single_share(self) -> float:
        """Share of the samples that have no B."""
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
        """Share of the vocabulary that occurs at all."""
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
    """A samples directory."""

    directory: Path
    """Where it lies."""
    manifest: Manifest
    """What it says of itself."""
    kind: Strategy
    """How its samples are made."""
    splits: list[SplitFigures]
    """Train, then held out."""
    heldout_in_train: float
    """Share of the held-out samples compared that equal one of training."""

    @property
    def filled(self) -> list[SplitFigures]:
        """The splits that have samples."""
        return [split for split in self.splits if split.counts.samples]

    @property
    def build(self) -> dict[str, Any]:
        """The options of the build stage."""
        return self.manifest.config.get("build", {})
