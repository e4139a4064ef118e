"""The recipe's sections `[data]` and `[masking]`, and the interface of every family's `[masking]`.

numpy is imported inside the functions that compute, so that recipes and help texts do not need it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pipeline.data.masking import Corrupted, Draw, Int64Array
    from pipeline.data.packing import Packed
    from pipeline.data.special_tokens import SpecialTokens


@dataclass(frozen=True)
class DataConfig:
    """Location of the samples, and the processes that read them."""

    samples: Path
    """Directory written by `python -m preprocessing`, with shards, manifest and tokenizer."""
    num_workers: int = 2
    """Worker processes per rank that build batches; 0 builds them in the training process."""
    prefetch: int = 4
    """Micro-batches that each worker keeps ready."""
    token_multiple: int = 1
    """Number of tokens to whose multiple each micro-batch is padded. Padding contributes no loss and gives kernels that
    are compiled for a shape few shapes. 1: no padding."""

    def __post_init__(self) -> None:
        if self.num_workers < 0:
            raise ValueError(f"data.num_workers = {self.num_workers}: must be at least 0")
        if self.prefetch < 1:
            raise ValueError(f"data.prefetch = {self.prefetch}: must be at least 1")
        if self.token_multiple < 1:
            raise ValueError(f"data.token_multiple = {self.token_multiple}: must be at least 1, which adds no padding")


class Corruption(Protocol):
    """A family's `[masking]` section: how samples are changed, and which tokens the model must restore.

    Its random numbers are a function of (seed, epoch, sample, position), as computed by `Draw`, and of nothing else.
    """

    def counts(self, lengths: "Int64Array", draw: "Draw") -> "Int64Array":
        """Returns (B,) the number of tokens to restore in each sample, from lengths (B,) and draws alone (law 3)."""
        ...

    def apply(self, packed: "Packed", counts: "Int64Array", draw: "Draw", special: "SpecialTokens") -> "Corrupted":
        """Returns the changed samples, with exactly `counts` (B,) tokens to restore in each."""
        ...


@dataclass(frozen=True)
class MaskingConfig:
    """Number of masked tokens, the unit of masking, and how often the masks change."""

    probability: float = 0.15
    """Fraction of a sample's tokens, special tokens included, that are masked; above 0, at most 0.5."""
    max_predictions: int = 20
    """Upper bound on the masked tokens of a sample (BERT: 20 at 128 tokens, about 80 at 512)."""
    whole_word: bool = False
    """Whether all pieces of a word are masked together."""
    duplicates: int = 0
    """Static masking: number of fixed masks that the epochs take in turn; 0 draws new masks in every epoch."""

    def __post_init__(self) -> None:
        if not 0 < self.probability <= 0.5:
            raise ValueError(f"masking.probability = {self.probability}: must be above 0 and at most 0.5 (BERT: 0.15)")
        if self.max_predictions < 1:
            raise ValueError(f"masking.max_predictions = {self.max_predictions}: must be at least 1 (BERT: 20)")
        if self.duplicates < 0:
            raise ValueError(
                f"masking.duplicates = {self.duplicates}: must be 0 (dynamic masking) or a number of masks"
            )

    def counts(self, lengths: "Int64Array", draw: "Draw") -> "Int64Array":
        """Returns `pipeline.data.masking.num_predictions`, which draws no random numbers."""
        from pipeline.data import masking

        return masking.num_predictions(lengths, self)

    def apply(self, packed: "Packed", counts: "Int64Array", draw: "Draw", special: "SpecialTokens") -> "Corrupted":
        """Returns `pipeline.data.masking.mask_tokens`."""
        from pipeline.data import masking

        return masking.mask_tokens(packed, counts, draw, self, special)
