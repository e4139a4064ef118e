"""The special tokens of a samples directory, and which pieces of its vocabulary continue a word.

Read from `tokenizer/tokenizer.json` alone, the file whose checksum the manifest holds.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

CONTINUATION_PREFIX = "##"  # WordPiece, as google-research/bert


@dataclass(frozen=True, eq=False)
class SpecialTokens:
    """Ids of BERT's special tokens, and the word continuations of the vocabulary."""

    cls_id: int
    """First token of every sample."""
    sep_id: int
    """Last token of every segment."""
    mask_id: int
    """Stands in place of a masked token."""
    pad_id: int
    """Unused in training, which has no padding; part of the exported model's configuration."""
    is_continuation: npt.NDArray[np.bool_] = field(repr=False)
    """(V,) True for the pieces that continue a word."""

    @property
    def vocab_size(self) -> int:
        """Tokens of the vocabulary V, special tokens counted."""
        return len(self.is_continuation)

    @classmethod
    def load(cls, tokenizer_dir: Path) -> "SpecialTokens":
        """Reads `tokenizer.json` of the directory.

        Raises:
            ValueError: the vocabulary lacks one of [CLS], [SEP], [MASK], [PAD].
        """
        path = tokenizer_dir / "tokenizer.json"
        vocabulary = Tokenizer.from_file(str(path)).get_vocab(with_added_tokens=True)
        missing = [token for token in ("[CLS]", "[SEP]", "[MASK]", "[PAD]") if token not in vocabulary]
        if missing:
            remedy = "build the samples with a BERT vocabulary"
            raise ValueError(f"{path}: the vocabulary lacks {', '.join(missing)}; {remedy}")
        continuations = [number for token, number in vocabulary.items() if token.startswith(CONTINUATION_PREFIX)]
        is_continuation = np.zeros(max(vocabulary.values()) + 1, np.bool_)
        is_continuation[continuations] = True
        return cls(
            cls_id=vocabulary["[CLS]"],
            sep_id=vocabulary["[SEP]"],
            mask_id=vocabulary["[MASK]"],
            pad_id=vocabulary["[PAD]"],
            is_continuation=is_continuation,
        )
