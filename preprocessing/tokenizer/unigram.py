"""SentencePiece's unigram model, the tokenizer of ALBERT.

Text is normalised, white space becomes a mark before each word, and a word is cut into the most probable sequence of
pieces. The released code splits pieces that end in a digit and a comma ("9," becomes "9" and ","); here a penalty on
such pieces has the same effect. AlbertTokenizer of `transformers` differs: it splits at USER_SYMBOLS first and then
marks the next piece as if a space preceded it ("(a" becomes "(" "▁a"). The ids here are those of
google-research/albert.
Source: tokenization.py of google-research/albert; https://arxiv.org/abs/1804.10959.
"""

import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import sentencepiece
from google.protobuf.message import DecodeError
from sentencepiece import sentencepiece_model_pb2 as formats
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from preprocessing.errors import DataError
from preprocessing.tokenizer.defaults import UNIGRAM_COVERAGE

SPECIAL_TOKENS = {
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
"""Special tokens by their names in `transformers`; in a trained vocabulary their ids are 0 .. 4 in this order."""
USER_SYMBOLS = ("(", ")", '"', "-", ".", "–", "£", "€")
"""Symbols that are always separate pieces, as in ALBERT's vocabulary."""
MARK = "▁"
"""Represents the space before a word, at the start of its first piece."""
_PENALTY = 100.0
_LONGEST_SENTENCE = 2**16
"""Longest sentence for training in bytes; the trainer silently ignores longer ones."""


def assemble(proto: Any, lower_case: bool, strip_accents: bool | None = None) -> Tokenizer:
    """The tokenizer of a parsed SentencePiece model.

    Args:
        proto: a `ModelProto`.
        lower_case: whether text is lower-cased first.
        strip_accents: whether combining marks are removed first; None: if text is lower-cased.

    Raises:
        ValueError: the model is not a unigram model, or lacks a special token.
    """
    if proto.trainer_spec.model_type != formats.TrainerSpec.UNIGRAM:  # type: ignore[attr-defined]
        raise ValueError("is no unigram model")
    pieces = [(piece.piece, _score(piece.piece, piece.score)) for piece in proto.pieces]
    if missing := set(SPECIAL_TOKENS.values()) - {piece for piece, _ in pieces}:
        raise ValueError(f"lacks {', '.join(sorted(missing))}")
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=proto.trainer_spec.unk_id, byte_fallback=False))
    tokenizer.normalizer = _normalizer(proto.normalizer_spec.precompiled_charsmap, lower_case, strip_accents)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement=MARK, prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace(replacement=MARK, prepend_scheme="always")
    ends = [
        (token, tokenizer.token_to_id(token)) for token in (SPECIAL_TOKENS["cls_token"], SPECIAL_TOKENS["sep_token"])
    ]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=ends
    )
    mask = SPECIAL_TOKENS["mask_token"]
    plain = [token for token in SPECIAL_TOKENS.values() if token != mask]
    # The mask includes the space before it: "a [MASK]" has the ids of "a" and the mask.
    tokenizer.add_special_tokens([*plain, AddedToken(mask, lstrip=True, special=True, normalized=False)])
    return tokenizer


def lower_cases(tokenizer: Tokenizer) -> bool:
    """Whether a tokenizer that `assemble` made lower-cases text."""
    return any(isinstance(step, normalizers.Lowercase) for step in tokenizer.normalizer)


def strips_accents(tokenizer: Tokenizer) -> bool:
    """Whether a tokenizer that `assemble` made removes combining marks."""
    return any(isinstance(step, normalizers.StripAccents) for step in tokenizer.normalizer)


def read_model(path: Path, lower_case: bool, strip_accents: bool | None = None) -> Tokenizer:
    """The tokenizer of a SentencePiece `.model` file.

    Raises:
        DataError: the file is not a unigram model of SentencePiece, or lacks a special token.
    """
    try:
        return assemble(_parse(path.read_bytes()), lower_case, strip_accents)
    except DecodeError:
        raise DataError(f"{path}: no SentencePiece model; give one, such as ALBERT's spiece.model") from None
    except ValueError as error:
        raise DataError(f"{path}: {error}; give a unigram model with ALBERT's special tokens") from None


def train(
    batches: Iterable[pa.StringArray],
    vocab_size: int,
    lower_case: bool,
    strip_accents: bool | None = None,
    character_coverage: float = UNIGRAM_COVERAGE,
) -> Tokenizer:
    """Trains a unigram model with SentencePiece's trainer on one thread, so that equal text gives an equal vocabulary.

    The trainer of huggingface/tokenizers is not used, because it sums in the order of randomly seeded hash maps.

    Args:
        batches: sentences.
        vocab_size: number of pieces; a small corpus may give fewer.
        lower_case: as in `assemble`.
        strip_accents: as in `assemble`.
        character_coverage: share of the text's characters that get pieces; rarer ones are unknown.

    Raises:
        DataError: the text has more distinct characters than `vocab_size` allows.
    """
    before = normalizers.Sequence(_first_steps(lower_case, strip_accents))
    model = io.BytesIO()
    named = {f"{name.removesuffix('_token')}_piece": token for name, token in SPECIAL_TOKENS.items()}
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_normalized(before, batches),
            model_writer=model,
            model_type="unigram",
            vocab_size=vocab_size,
            hard_vocab_limit=False,
            character_coverage=character_coverage,
            control_symbols=[named["cls_piece"], named["sep_piece"], named["mask_piece"]],
            user_defined_symbols=list(USER_SYMBOLS),
            pad_id=0,
            unk_id=1,
            bos_id=-1,
            eos_id=-1,
            pad_piece=named["pad_piece"],
            unk_piece=named["unk_piece"],
            max_sentence_length=_LONGEST_SENTENCE,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:  # The library raises no more specific error.
        if needed := re.search(r"smaller than required_chars\. \d+ vs (\d+)", str(error)):
            raise DataError(
                f"vocab_size = {vocab_size:,}: characters and special tokens alone are {int(needed[1]):,}; raise "
                f"--vocab_size, or lower --character_coverage (now {character_coverage:g})"
            ) from None
        raise DataError(f"vocab_size = {vocab_size}: SentencePiece finds no such model: {error}") from None
    return assemble(_parse(model.getvalue()), lower_case, strip_accents)


def _parse(data: bytes) -> Any:
    proto = formats.ModelProto()  # type: ignore[attr-defined]
    proto.ParseFromString(data)
    return proto


def _score(piece: str, score: float) -> float:
    """The score with the digits of a float32: a float64 would not survive being written to tokenizer.json."""
    ends_in_number_comma = len(piece) > 1 and piece[-1] == "," and piece[-2].isdigit()
    return float(str(np.float32(score - _PENALTY * ends_in_number_comma)))


def _first_steps(lower_case: bool, strip_accents: bool | None) -> list[normalizers.Normalizer]:
    """The normalization that ALBERT's code applies before SentencePiece: quotes and, if uncased, accents and case."""
    steps: list[normalizers.Normalizer] = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    if lower_case if strip_accents is None else strip_accents:
        steps += [normalizers.NFKD(), normalizers.StripAccents()]
    return [*steps, normalizers.Lowercase()] if lower_case else steps


def _normalizer(charsmap: bytes, lower_case: bool, strip_accents: bool | None) -> normalizers.Normalizer:
    """The steps of `_first_steps`, followed by the model's own rules."""
    own = [normalizers.Precompiled(charsmap)] if charsmap else []
    return normalizers.Sequence([*_first_steps(lower_case, strip_accents), *own])


def _normalized(steps: normalizers.Normalizer, batches: Iterable[pa.StringArray]) -> Iterator[str]:
    for batch in batches:
        for sentence in batch.to_pylist():
            yield steps.normalize_str(sentence)
