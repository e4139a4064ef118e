"""Configuration and masking of DeBERTa."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

from pipeline.data.config import NgramMasking
from pipeline.model.config import DisentangledConfig
from pipeline.model.student_config import StudentConfig

if TYPE_CHECKING:  # recipes and help texts do not need them, so that functions that compute import them
    from pipeline.data.masking import Corrupted, Draw
    from pipeline.data.packing import Int64Array, Packed
    from pipeline.data.special_tokens import SpecialTokens

Objective = Literal["masked", "masked_plain", "replaced"]


@dataclass(frozen=True)
class DebertaConfig(DisentangledConfig, StudentConfig):
    """Shape and regularisation of the encoder. The size of the vocabulary is that of the samples, and not a field."""

    objective: Objective = "masked"
    """Objective: masked (masked tokens, predicted by the enhanced mask decoder), masked_plain (without the decoder), or
    replaced (replaced tokens of a generator with half as many layers, as DeBERTa-v3)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.objective not in get_args(Objective):
            raise ValueError(
                f"model.objective = {self.objective}: must be one of {', '.join(get_args(Objective))}; version 3 of "
                "DeBERTa has replaced"
            )
        if self.objective == "replaced":
            self.require_no_teacher("that detects replaced tokens", "model.objective = masked or masked_plain")

    @property
    def generator(self) -> "DebertaConfig":
        """Configuration of the generator, which is as wide as the encoder and has half as many layers."""
        depth, checkpointing = max(1, self.num_hidden_layers // 2), self.activation_checkpointing
        if not isinstance(checkpointing, bool):
            checkpointing = min(checkpointing, depth)
        return replace(self, num_hidden_layers=depth, activation_checkpointing=checkpointing, objective="masked")

    @property
    def layer_step(self) -> int:
        """Number of layers that must be added for every part of the model to grow."""
        return 2 if self.objective == "replaced" else 1


@dataclass(frozen=True)
class DebertaMasking(NgramMasking):
    """Number of masked tokens, the length of the masked runs of words, what replaces the tokens, and how often the
    masks change.

    Source: NGramMaskGenerator of mlm_task.py of microsoft/DeBERTa, which visits the words from left to right and may
    mask fewer tokens at the end of a sample; here the order is random, and counts are exact (law 3).
    """

    max_predictions: int = 0
    """Upper bound on the masked tokens of a sample; 0: no upper bound."""
    whole_words: bool = True
    """Whether runs of up to max_ngram words are masked (DeBERTa-v2), or single tokens (DeBERTa-v3)."""

    def apply(self, packed: "Packed", counts: "Int64Array", draw: "Draw", special: "SpecialTokens") -> "Corrupted":
        """Mask runs of words or single tokens, drawn without replacement."""
        import numpy as np

        from pipeline.data.hashing import Purpose
        from pipeline.data.masking import choose_tokens, replace_tokens

        if self.whole_words:
            return super().apply(packed, counts, draw, special)
        keys = draw.keys(Purpose.MASKED_POSITION, self.duplicates)
        positions = choose_tokens(packed.is_text, packed.cu_seqlens, counts, keys)
        words = np.arange(special.vocab_size)
        return replace_tokens(packed, positions, counts, draw, self.duplicates, special, words, self.mask_only)
