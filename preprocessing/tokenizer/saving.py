"""Reads and writes tokenizers in the format of `transformers`."""

from pathlib import Path

from tokenizers import Tokenizer, pre_tokenizers

from preprocessing.errors import DataError
from preprocessing.files import read_json, write_json, write_text
from preprocessing.tokenizer.registry import KINDS, kind_of
from preprocessing.tokenizer.wordpiece import vocabulary_of

MODEL_MAX_LENGTH = 512
"""Number of position embeddings of the published models."""
VOCAB_HELP = (
    "a vocab.txt, a SentencePiece .model, or a directory with one of them, a tokenizer.json, or a vocab.json and a "
    "merges.txt"
)
JSON_NAME = "tokenizer.json"


def load_tokenizer(directory: Path) -> Tokenizer:
    """The tokenizer of a directory with a `tokenizer.json`, such as `save_tokenizer` writes.

    Raises:
        DataError: the file is missing, of an unsupported kind, or lacks a special token.
    """
    path = directory / JSON_NAME
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
        tokenizer.pre_tokenizer.add_prefix_space = True  # Required by `encode`; published files have it off.
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, directory: Path) -> None:
    """Writes the files that `transformers.AutoTokenizer` loads; for WordPiece also vocab.txt."""
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
    write_text(directory / JSON_NAME, tokenizer.to_str(pretty=True))
    write_json(directory / "tokenizer_config.json", settings)
    write_json(directory / "special_tokens_map.json", kind.special_tokens)


def tokenizer_files(directory: Path) -> list[Path]:
    """The files that `save_tokenizer` wrote to a directory."""
    names = (JSON_NAME, "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
    return [directory / name for name in names if (directory / name).is_file()]
