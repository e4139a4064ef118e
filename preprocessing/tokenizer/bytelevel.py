"""Byte-level BPE, the tokenizer of GPT-2, RoBERTa and DeBERTa v1. It encodes any text without unknown tokens.

Source: https://arxiv.org/abs/1907.11692, section 4.4; roberta in facebookresearch/fairseq.
"""

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from preprocessing.errors import DataError
from preprocessing.files import read_json

SPECIAL_TOKENS = {
    "cls_token": "<s>",
    "pad_token": "<pad>",
    "sep_token": "</s>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}
"""Special tokens by their names in `transformers`; in a trained vocabulary their ids are 0 .. 4 in this order."""
VOCAB_NAME, MERGES_NAME = "vocab.json", "merges.txt"


def assemble(model: models.BPE) -> Tokenizer:
    """RoBERTa's tokenizer with a given model; the first word is encoded with a space before it, like all others.

    Raises:
        ValueError: the model lacks a special token.
    """
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    if missing := [token for token in SPECIAL_TOKENS.values() if tokenizer.token_to_id(token) is None]:
        raise ValueError(f"lacks {', '.join(missing)}")
    tokenizer.post_processor = processors.RobertaProcessing(
        _end(tokenizer, "sep_token"), _end(tokenizer, "cls_token"), trim_offsets=True, add_prefix_space=True
    )
    mask = SPECIAL_TOKENS["mask_token"]
    plain = [token for token in SPECIAL_TOKENS.values() if token != mask]
    # The mask includes the space before it: "a <mask>" has the ids of "a" and the mask.
    tokenizer.add_special_tokens([*plain, AddedToken(mask, lstrip=True, special=True, normalized=False)])
    return tokenizer


def _end(tokenizer: Tokenizer, name: str) -> tuple[str, int]:
    number = tokenizer.token_to_id(SPECIAL_TOKENS[name])
    assert number is not None, "assemble checks that it is there"
    return SPECIAL_TOKENS[name], number


def read_files(directory: Path) -> Tokenizer:
    """The tokenizer of a `vocab.json` and a `merges.txt`, the files of GPT-2 and RoBERTa.

    Raises:
        DataError: the files are malformed, do not fit together, or lack a special token.
    """
    path = directory / VOCAB_NAME
    vocab = read_json(path)
    if not all(isinstance(number, int) for number in vocab.values()):
        raise DataError(f"{path}: no vocabulary; expected an object of tokens and their ids")
    merges = _read_merges(directory / MERGES_NAME, vocab)
    try:
        return assemble(models.BPE(vocab, merges))
    except ValueError as error:
        raise DataError(f"{path}: {error}; give the files of a RoBERTa model") from None


def _read_merges(path: Path, vocab: dict[str, int]) -> list[tuple[str, str]]:
    """The merges, checked here because the library aborts on an unknown token."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error}); merges are UTF-8 text, a pair of tokens per line") from None
    merges = []
    for number, line in enumerate(lines, 1):
        if not line or line.startswith("#version"):
            continue
        first, _, second = line.partition(" ")
        if not {first, second, first + second} <= vocab.keys():
            raise DataError(
                f"{path}:{number}: {line!r} is no merge of the vocabulary beside it; expected two of its tokens with a "
                "space between them, which together are a third"
            )
        merges.append((first, second))
    return merges


def train(
    batches: Iterable[pa.StringArray],
    vocab_size: int,
    lower_case: bool,
    strip_accents: bool | None = None,
    character_coverage: float | None = None,
) -> Tokenizer:
    """Trains a tokenizer: special tokens, the 256 bytes, then merges in order of frequency. Equal text gives equal
    results.

    Args:
        batches: sentences.
        vocab_size: number of tokens, at least `Defaults.smallest`; a small corpus may give fewer.
        lower_case: must be False: bytes have no case.
        strip_accents: must not be True: bytes have no accents.
        character_coverage: must be None: 256 bytes spell every character.
    """
    assert not lower_case and not strip_accents and character_coverage is None, "TokenizerConfig checks it"
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS.values()),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator((sentence for batch in batches for sentence in batch.to_pylist()), trainer)
    return assemble(tokenizer.model)
