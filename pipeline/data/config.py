"""The recipe's sections `[data]`, `[batch]` and `[masking]`, and the interface of every family's `[masking]`.

numpy is imported inside the functions that compute, so that recipes and help texts do not need it.
"""

import math
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

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
    fixed_shapes: bool = False
    """Whether all micro-batches of equally many samples also have equally many sequences and one longest length, for
    CUDA graphs. Requires token_multiple, to whose multiple the tokens are padded by up to one multiple more."""
    earlier_samples: list[Path] = field(default_factory=list)
    """Directories that the run trains on before `samples`, in this order, usually of shorter samples. Held-out samples
    are those of `samples`."""
    until: list[float] = field(default_factory=list)
    """Share of total_steps at which each of earlier_samples ends, in ascending order."""

    def __post_init__(self) -> None:
        if self.num_workers < 0:
            raise ValueError(f"data.num_workers = {self.num_workers}: must be at least 0")
        if self.prefetch < 1:
            raise ValueError(f"data.prefetch = {self.prefetch}: must be at least 1")
        if self.token_multiple < 1:
            raise ValueError(f"data.token_multiple = {self.token_multiple}: must be at least 1, which adds no padding")
        if self.fixed_shapes and self.token_multiple == 1:
            raise ValueError(
                "data.fixed_shapes = true: requires data.token_multiple above 1, without which every micro-batch has a "
                "shape of its own; set it to some thousand tokens, or fixed_shapes to false"
            )
        if len(self.until) != len(self.earlier_samples):
            raise ValueError(
                f"data.until = {self.until}: must have a share for each of the {len(self.earlier_samples)} directories "
                "of data.earlier_samples"
            )
        if any(share <= before for before, share in pairwise([0.0, *self.until, 1.0])):
            raise ValueError(f"data.until = {self.until}: must be shares above 0 and below 1, in ascending order")


@dataclass(frozen=True)
class BatchConfig:
    """Sizes of the global batch and of micro-batches."""

    global_batch_size: int = 65536
    """Samples per optimizer step, over all ranks."""
    micro_batch_size: int = 64
    """Samples per forward pass on one rank, on which memory depends. Must divide global_batch_size / ranks, and
    global_batch_size_start / ranks."""
    global_batch_size_start: int = 0
    """Samples of the first step. The batch grows by this number at equal distances up to global_batch_size, which must
    be a multiple of it. 0: global_batch_size from the first step on."""
    growth_proportion: float = 0.5
    """Share of total_steps over which the batch grows from global_batch_size_start."""
    scale_with_length: bool = False
    """Whether steps on data.earlier_samples have more samples, so that all steps have about as many tokens: the sizes
    are multiplied by the length of the longest sample of data.samples over that of these samples, rounded down."""

    def __post_init__(self) -> None:
        for name in ("global_batch_size", "micro_batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"batch.{name} = {getattr(self, name)}: must be at least 1")
        start = self.global_batch_size_start
        if start < 0 or (start and self.global_batch_size % start):
            raise ValueError(
                f"batch.global_batch_size_start = {start}: must divide batch.global_batch_size = "
                f"{self.global_batch_size}, since the batch grows by multiples of it; 0 for a constant batch"
            )
        if not 0 < self.growth_proportion <= 1:
            raise ValueError(f"batch.growth_proportion = {self.growth_proportion}: must be above 0 and at most 1")


class Corruption(Protocol):
    """A family's `[masking]` section: how samples are changed, and which tokens the model must restore.

    Its random numbers are a function of (seed, epoch, sample, position), as computed by `Draw`, and of nothing else.
    """

    def at(self, progress: float) -> "Corruption":
        """Returns the corruption of one step, which has no schedule; a corruption without schedules returns itself.

        Args:
            progress: share of the run before the step, in [0, 1); see `pipeline.data.schedule.progress`.
        """
        ...

    def warning(self, longest: int) -> str:
        """Returns a warning about samples of up to `longest` tokens, special tokens included; empty if there is none.

        Raises:
            ValueError: the corruption cannot do what the recipe says on such samples.
        """
        ...

    def counts(self, lengths: "Int64Array", draw: "Draw") -> "Int64Array":
        """Returns (B,) the number of tokens to restore in each sample, from lengths (B,) and draws alone (law 3)."""
        ...

    def apply(self, packed: "Packed", counts: "Int64Array", draw: "Draw", special: "SpecialTokens") -> "Corrupted":
        """Returns the changed samples, with exactly `counts` (B,) tokens to restore in each."""
        ...


@dataclass(frozen=True)
class MaskRate:
    """Fraction of the masked tokens over the run, what replaces them, and how often the masks change."""

    probability: float = 0.15
    """Fraction of a sample's tokens, special tokens included, that are masked; above 0, at most 0.5. With
    probability_start it is the fraction at the end of the run."""
    probability_start: float = 0.0
    """Fraction at the first step, from which the fraction changes linearly to `probability` at the end of the run; at
    most 0.5. 0: `probability` from the first step on."""
    mask_only_above: float = 0.5
    """Fraction above which every chosen token is replaced by the mask token. At this fraction and below, 80 % are
    replaced by the mask token and 10 % by a random token, and 10 % stay (BERT). 0: always the mask token."""
    duplicates: int = 0
    """Static masking: number of fixed masks that the epochs take in turn; 0 draws new masks in every epoch."""

    def __post_init__(self) -> None:
        if not 0 < self.probability <= 0.5:
            raise ValueError(
                f"masking.probability = {self.probability}: must be above 0 and at most 0.5 (BERT and RoBERTa: 0.15)"
            )
        for name in ("probability_start", "mask_only_above"):
            if not 0 <= getattr(self, name) <= 0.5:
                raise ValueError(f"masking.{name} = {getattr(self, name)}: must be at least 0 and at most 0.5")
        if self.duplicates < 0:
            raise ValueError(
                f"masking.duplicates = {self.duplicates}: must be 0 (dynamic masking) or a number of masks"
            )

    def at(self, progress: float) -> Self:
        """Returns the section with the fraction of one step, at the share `progress` of the run."""
        if not self.probability_start:
            return self
        rate = (1 - progress) * self.probability_start + progress * self.probability
        return replace(self, probability=rate, probability_start=0.0)

    def warning(self, longest: int) -> str:
        """Returns an empty string: a fraction has no upper bound in tokens."""
        return ""

    @property
    def mask_only(self) -> bool:
        """Whether every chosen token is replaced by the mask token, at the fraction `probability`."""
        return self.probability > self.mask_only_above


@dataclass(frozen=True)
class BoundedMasking(MaskRate):
    """A mask rate with an upper bound per sample, whose counts follow from the lengths alone, as BERT's do."""

    max_predictions: int = 20
    """Upper bound on the masked tokens of a sample (BERT: 20 at 128 tokens, about 80 at 512); 0: no upper bound."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_predictions < 0:
            raise ValueError(
                f"masking.max_predictions = {self.max_predictions}: must be at least 1 (BERT: 20), or 0 for no upper "
                "bound"
            )

    def warning(self, longest: int) -> str:
        """Returns a warning if the upper bound takes a whole token or more from the samples of `longest` tokens.

        BERT's bounds round: 0.15 of 512 tokens are 76.8, for which 76, 77 and 80 are in use.

        Raises:
            ValueError: this happens with a schedule, whose first fraction would not be reached.
        """
        name = max(("probability", "probability_start"), key=lambda name: float(getattr(self, name)))
        wanted = longest * float(getattr(self, name))
        if not self.max_predictions or wanted < self.max_predictions + 1:
            return ""
        text = (
            f"masking.max_predictions = {self.max_predictions}: is below the {wanted:.0f} masked tokens of a sample of "
            f"{longest} tokens (masking.{name} = {getattr(self, name)}), so that fewer are masked"
        )
        if self.probability_start:
            raise ValueError(f"{text}; set it to {math.ceil(wanted)}, or to 0 for no upper bound")
        return f"{text}; a new run can set it to {math.ceil(wanted)}, or to 0 for no upper bound"

    def counts(self, lengths: "Int64Array", draw: "Draw") -> "Int64Array":
        """Returns `pipeline.data.masking.num_predictions`, which draws no random numbers."""
        from pipeline.data import masking

        return masking.num_predictions(lengths, self)


@dataclass(frozen=True)
class MaskingConfig(BoundedMasking):
    """Number of masked tokens, the unit of masking, what replaces the tokens, and how often the masks change."""

    whole_word: bool = False
    """Whether all pieces of a word are masked together."""

    def apply(self, packed: "Packed", counts: "Int64Array", draw: "Draw", special: "SpecialTokens") -> "Corrupted":
        """Returns `pipeline.data.masking.mask_tokens`."""
        from pipeline.data import masking

        return masking.mask_tokens(packed, counts, draw, self, special)


@dataclass(frozen=True)
class NgramMasking(BoundedMasking):
    """Number of masked tokens, the length of the masked runs of words, what replaces the tokens, and how often the
    masks change.
    """

    max_ngram: int = 3
    """Largest number of consecutive words that are masked together; n words are drawn with a probability proportional
    to 1/n. 1: whole words (ALBERT: 3)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_ngram < 1:
            raise ValueError(f"masking.max_ngram = {self.max_ngram}: must be at least 1, which masks whole words")

    def apply(self, packed: "Packed", counts: "Int64Array", draw: "Draw", special: "SpecialTokens") -> "Corrupted":
        """Returns `pipeline.data.ngrams.mask_ngrams`."""
        from pipeline.data import ngrams

        return ngrams.mask_ngrams(packed, counts, draw, self, special)


@dataclass(frozen=True)
class SpanMasking(BoundedMasking):
    """Number of masked tokens, the length of the masked spans of words, what replaces the tokens, and how often the
    masks change. All tokens of a span are replaced alike.
    """

    max_predictions: int = 0
    """Upper bound on the masked tokens of a sample; 0: no upper bound (SpanBERT)."""
    geometric_p: float = 0.2
    """Parameter p of the geometric distribution of the number of words n of a span, which is proportional to
    (1 - p)^(n - 1) (SpanBERT: 0.2, a mean of 3.8 words)."""
    max_words: int = 10
    """Largest number of words of a drawn span (SpanBERT: 10); 1: whole words. Spans that touch become one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.geometric_p < 1:
            raise ValueError(f"masking.geometric_p = {self.geometric_p}: must be above 0 and below 1 (SpanBERT: 0.2)")
        if self.max_words < 1:
            raise ValueError(f"masking.max_words = {self.max_words}: must be at least 1, which masks whole words")

    def apply(self, packed: "Packed", counts: "Int64Array", draw: "Draw", special: "SpecialTokens") -> "Corrupted":
        """Returns `pipeline.data.ngrams.mask_spans`."""
        from pipeline.data import ngrams

        return ngrams.mask_spans(packed, counts, draw, self, special)
