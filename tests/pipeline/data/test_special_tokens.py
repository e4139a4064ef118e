"""Laws of pipeline/data/special_tokens.py."""

import numpy as np
import pytest

from pipeline.data.special_tokens import SpecialTokens


def test_ids_and_continuations_are_those_of_the_tokenizer(tmp_path, write_tokenizer, vocabulary):
    """Ids are found by name, and the table marks exactly the tokens that start with ##."""
    pieces = ["#", "#1", *vocabulary[::-1]]
    special = SpecialTokens.load(write_tokenizer(tmp_path, pieces).parent)
    assert {role: pieces[number] for role, number in special.ids.items()} == {
        "cls": "[CLS]",
        "sep": "[SEP]",
        "mask": "[MASK]",
        "pad": "[PAD]",
    }
    assert special.vocab_size == len(pieces)
    assert np.flatnonzero(special.is_continuation).tolist() == [
        number for number, piece in enumerate(pieces) if piece.startswith("##")
    ]


def test_missing_special_tokens_are_named(tmp_path, write_tokenizer):
    """A vocabulary without [MASK] and [CLS] is an error with the file and both names."""
    path = write_tokenizer(tmp_path, ["[PAD]", "[UNK]", "[SEP]", "a"])
    with pytest.raises(
        ValueError, match=r"tokenizer\.json: the vocabulary lacks \[CLS\] or <s>, \[MASK\] or <mask>; build the samples"
    ):
        SpecialTokens.load(path.parent)
