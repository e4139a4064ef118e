"""Held-out samples with their context in random order, for the order gap.

The order gap is the loss of the same masked tokens on shuffled samples minus that on intact ones: what word order is
worth to the model. It is 0 for a model that uses the words of a sample and not their places.
"""

from dataclasses import dataclass, replace

import numpy as np

from pipeline.data.config import Corruption
from pipeline.data.hashing import Purpose, fold
from pipeline.data.masking import Corrupted, Draw, Int64Array
from pipeline.data.packing import Packed
from pipeline.data.special_tokens import SpecialTokens


@dataclass(frozen=True)
class ShuffledContext:
    """A corruption whose visible text tokens are permuted within their segment.

    Special tokens, and the positions to restore with what stands there and their labels, stay as they are. The
    permutation is a function of (seed, epoch, sample), like masks.
    """

    corruption: Corruption
    """The corruption that chooses and replaces the tokens to restore."""

    def at(self, progress: float) -> "ShuffledContext":
        """Returns the same change of the corruption of one step."""
        return replace(self, corruption=self.corruption.at(progress))

    def warning(self, longest: int) -> str:
        """Returns the warning of the corruption."""
        return self.corruption.warning(longest)

    def counts(self, lengths: Int64Array, draw: Draw) -> Int64Array:
        """Returns the counts (B,) of the corruption."""
        return self.corruption.counts(lengths, draw)

    def apply(self, packed: Packed, counts: Int64Array, draw: Draw, special: SpecialTokens) -> Corrupted:
        """Returns the samples of the corruption with their visible text tokens permuted."""
        corrupted = self.corruption.apply(packed, counts, draw, special)
        moves = packed.is_text.copy()  # (T,)
        moves[corrupted.targets["positions"]] = False
        places = np.flatnonzero(moves)  # (S,) positions of the visible text tokens
        rows = np.repeat(np.arange(len(counts)), np.diff(packed.cu_seqlens))[places]  # (S,) sample of each
        within = places - packed.cu_seqlens[rows]
        tickets = fold(draw.keys(Purpose.CONTEXT_ORDER)[rows], within)
        # Positions ascend, and samples and segments with them, so that each group's tokens stay at its own places.
        order = np.lexsort((tickets, packed.segment_ids[places], rows))
        shuffled = corrupted.input_ids.copy()
        shuffled[places] = corrupted.input_ids[places[order]]
        return Corrupted(shuffled, corrupted.targets)
