"""Special tokens and word continuations of a samples directory's vocabulary.

They are read from `tokenizer/tokenizer.json` alone, the file whose checksum the manifest holds.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

ROLES: Mapping[str, tuple[str, ...]] = {
    "cls": ("[CLS]", "<s>"),
    "sep": ("[SEP]", "</s>"),
    "mask": ("[MASK]", "<mask>"),
    "pad": ("[PAD]", "<pad>"),
}
"""Names of the token of each role, in WordPiece vocabularies and in others, in the order of preference."""
CONTINUES: Mapping[str, Callable[[str], bool]] = {
    "WordPiece": lambda piece: piece.startswith("##"),  # google-research/bert
    "BPE": lambda piece: not piece.startswith("Ġ"),  # byte-level: a space before a word is part of its first piece
    "Unigram": lambda piece: not piece.startswith("▁"),  # SentencePiece
}
"""Whether a piece continues a word, by the type of the tokenizer's model."""


@dataclass(frozen=True, eq=False)
class SpecialTokens:
    """Ids of the special tokens, and the word continuations of the vocabulary."""

    ids: Mapping[str, int]
    """Id of the token of each role: "cls" and "sep" around segments, "mask" in place of a token, "pad"."""
    is_special: npt.NDArray[np.bool_] = field(repr=False)
    """(V,) True for special tokens, which represent no text."""
    is_continuation: npt.NDArray[np.bool_] = field(repr=False)
    """(V,) True for the pieces that continue a word."""

    @property
    def vocab_size(self) -> int:
        """Number of tokens of the vocabulary V, special tokens included."""
        return len(self.is_continuation)

    @classmethod
    def load(cls, tokenizer_dir: Path) -> "SpecialTokens":
        """Reads `tokenizer.json` of the directory.

        Raises:
            ValueError: the vocabulary lacks the token of a role, or its model type is unknown.
        """
        path = tokenizer_dir / "tokenizer.json"
        tokenizer = Tokenizer.from_file(str(path))
        vocabulary = tokenizer.get_vocab(with_added_tokens=True)
        found = {role: [name for name in names if name in vocabulary] for role, names in ROLES.items()}
        if missing := [" or ".join(ROLES[role]) for role, names in found.items() if not names]:
            remedy = "build the samples with the vocabulary of a model of the BERT family"
            raise ValueError(f"{path}: the vocabulary lacks {', '.join(missing)}; {remedy}")
        model = json.loads(path.read_text(encoding="utf-8"))["model"]["type"]
        if model not in CONTINUES:
            raise ValueError(f"{path}: model.type = {model}: must be one of {', '.join(CONTINUES)}")
        size = max(vocabulary.values()) + 1
        is_special, is_continuation = np.zeros(size, np.bool_), np.zeros(size, np.bool_)
        for name, number in vocabulary.items():
            is_continuation[number] = CONTINUES[model](name)
        special = [number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special]
        is_special[special], is_continuation[special] = True, False
        return cls({role: vocabulary[names[0]] for role, names in found.items()}, is_special, is_continuation)
