"""Tokenizers on disk: read from what others publish or we saved, written as `transformers` loads them."""

from pathlib import Path

from tokenizers import Tokenizer, normalizers, pre_tokenizers

from preprocessing.errors import DataError
from preprocessing.files import read_json, sha256_file, write_json, write_text
from preprocessing.tokenizer import bytelevel, unigram
from preprocessing.tokenizer.registry import KINDS, kind_of
from preprocessing.tokenizer.wordpiece import make_tokenizer, read_vocabulary, vocabulary_of

MODEL_MAX_LENGTH = 512
"""Position embeddings of the published models."""
VOCAB_HELP = (
    "a vocab.txt, a SentencePiece .model, or a directory with a tokenizer.json, or a vocab.json and a merges.txt"
)
_JSON_NAME = "tokenizer.json"


def read_tokenizer(path: Path, lower_case: bool | None) -> Tokenizer:
    """The tokenizer at `path`, in one of the forms of VOCAB_HELP.

    Args:
        path: file or directory.
        lower_case: whether text is lower-cased and loses its accents; None: what is usual, or what the files say.

    Raises:
        DataError: it is none, or says itself that it treats case differently.
    """
    if path.is_file():
        if path.suffix == ".model":
            return unigram.read_model(path, KINDS["unigram"].lower_case if lower_case is None else lower_case)
        return make_tokenizer(
            read_vocabulary(path), KINDS["wordpiece"].lower_case if lower_case is None else lower_case
        )
    if not path.is_dir():
        raise DataError(f"{path}: no such file or directory; --vocab takes {VOCAB_HELP}")
    is_pair = not (path / _JSON_NAME).is_file() and (path / bytelevel.VOCAB_NAME).is_file()
    tokenizer = bytelevel.read_files(path) if is_pair else load_tokenizer(path)
    if lower_case is not None and lower_cases(tokenizer) != lower_case:
        raise DataError(
            f"{path}: lower-cases text: {lower_cases(tokenizer)}, but lower_case is {lower_case}; leave the option out"
        )
    return tokenizer


def identity(path: Path) -> str:
    """What identifies the content that `read_tokenizer` reads: checksums of the files."""
    if path.is_file():
        return sha256_file(path)
    names = [_JSON_NAME] if (path / _JSON_NAME).is_file() else [bytelevel.VOCAB_NAME, bytelevel.MERGES_NAME]
    return " ".join(sha256_file(path / name) for name in names)


def load_tokenizer(directory: Path) -> Tokenizer:
    """The tokenizer of a directory with a `tokenizer.json`, such as `save_tokenizer` writes.

    Raises:
        DataError: there is none, or it is of no kind that this version knows, or lacks a special token.
    """
    path = directory / _JSON_NAME
    if not path.is_file():
        raise DataError(f"{path}: missing; --vocab takes {VOCAB_HELP}")
    parts = tuple((read_json(path).get(part) or {}).get("type") for part in ("model", "normalizer", "pre_tokenizer"))
    if parts not in [kind.parts for kind in KINDS.values()]:
        known = "; ".join(f"{name}: {kind.parts}" for name, kind in KINDS.items())
        raise DataError(f"{path}: model, normalizer and pre_tokenizer are {parts}, this version reads {known}")
    tokenizer = Tokenizer.from_file(str(path))
    names = kind_of(tokenizer).special_tokens.values()
    if missing := [token for token in names if tokenizer.token_to_id(token) is None]:
        raise DataError(f"{path}: lacks {', '.join(missing)}; give the tokenizer of a model of the BERT family")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if isinstance(tokenizer.pre_tokenizer, pre_tokenizers.ByteLevel):
        tokenizer.pre_tokenizer.add_prefix_space = True  # As `encode` promises; published ones have it off.
    return tokenizer


def lower_cases(tokenizer: Tokenizer) -> bool:
    """Whether a tokenizer lower-cases text."""
    normalizer = tokenizer.normalizer
    if isinstance(normalizer, normalizers.BertNormalizer):
        return bool(normalizer.lowercase)
    return isinstance(normalizer, normalizers.Sequence) and unigram.lower_cases(tokenizer)


def save_tokenizer(tokenizer: Tokenizer, directory: Path) -> None:
    """Writes what `transformers.AutoTokenizer` loads; for WordPiece also its vocab.txt."""
    kind = kind_of(tokenizer)
    inputs = ["input_ids", *(["token_type_ids"] if kind.has_segments else []), "attention_mask"]
    settings = {
        **kind.special_tokens,
        "tokenizer_class": kind.tokenizer_class,
        "model_max_length": MODEL_MAX_LENGTH,
        "model_input_names": inputs,
    }
    if kind is KINDS["wordpiece"]:
        settings |= {
            "do_lower_case": tokenizer.normalizer.lowercase,
            "strip_accents": tokenizer.normalizer.strip_accents,
            "tokenize_chinese_chars": tokenizer.normalizer.handle_chinese_chars,
        }
        write_text(directory / "vocab.txt", "".join(f"{token}\n" for token in vocabulary_of(tokenizer)))
    write_text(directory / _JSON_NAME, tokenizer.to_str(pretty=True))
    write_json(directory / "tokenizer_config.json", settings)
    write_json(directory / "special_tokens_map.json", kind.special_tokens)


def tokenizer_files(directory: Path) -> list[Path]:
    """The files that `save_tokenizer` wrote there."""
    names = (_JSON_NAME, "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
    return [directory / name for name in names if (directory / name).is_file()]
