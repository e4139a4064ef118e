"""The recipe's sections `[data]` and `[masking]`."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DataConfig:
    """Where the samples are and who reads them."""

    samples: Path
    """Directory that `python -m preprocessing` wrote: shards, manifest, tokenizer."""
    num_workers: int = 2
    """Worker processes per rank that build batches; 0 builds them in the training process."""
    prefetch: int = 4
    """Micro-batches that each worker keeps ready."""
    token_multiple: int = 1
    """Tokens of a micro-batch are rounded up to a multiple of this by a tail that nothing is learnt from: where kernels
    are compiled for a shape, they then meet few shapes. 1: no tail."""

    def __post_init__(self) -> None:
        if self.num_workers < 0:
            raise ValueError(f"data.num_workers = {self.num_workers}: must be 0 or more")
        if self.prefetch < 1:
            raise ValueError(f"data.prefetch = {self.prefetch}: must be at least 1")
        if self.token_multiple < 1:
            raise ValueError(f"data.token_multiple = {self.token_multiple}: must be at least 1, which adds no tail")


@dataclass(frozen=True)
class MaskingConfig:
    """How many tokens are masked, in which units, and how often the masks change."""

    probability: float = 0.15
    """Share of a sample's tokens, special tokens counted, that are masked; above 0, at most 0.5."""
    max_predictions: int = 20
    """Upper bound on the masked tokens of a sample (BERT: 20 at 128 tokens, about 80 at 512)."""
    whole_word: bool = False
    """Mask all pieces of a word together."""
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
