"""Comparison of the vocabularies of two tokenizer directories: their id -> token tables and their normalisation.

Sizes are not compared, because different vocabularies often have the same size, nor are the files' bytes, because one
vocabulary can be written in several formats.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from preprocessing.files import read_json

_FORMS = ("tokenizer.json", "vocab.txt", "vocab.json")


class Vocabulary(NamedTuple):
    """The token of each id, and the normalisation of text before it is split into tokens."""

    tokens: Mapping[int, str]
    """Tokens by id."""
    normalizer: Mapping[str, Any]
    """Settings of the normalizer: case, accents, ..."""


def read_vocabulary(directory: Path) -> Vocabulary:
    """Returns the vocabulary of a directory, in one of the formats that `transformers` loads.

    Raises:
        ValueError: the directory has no such file, or a damaged one; the message names it.
    """
    path = next((directory / name for name in _FORMS if (directory / name).is_file()), None)
    if path is None:
        raise ValueError(
            f"{directory}: holds none of {', '.join(_FORMS)}, so its vocabulary is not known; copy "
            "the tokenizer's files there"
        )
    if path.name == "tokenizer.json":
        return _of_json(path)
    if path.name == "vocab.json":
        return Vocabulary(_by_id(path, read_json(path)), {"type": None})
    try:
        lines = path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not valid UTF-8 ({error}); save it as UTF-8") from None
    # The last line of a token that occurs twice counts, as in `transformers`.
    ids = {token.removesuffix("\r"): number for number, token in enumerate(lines)}
    settings_path = directory / "tokenizer_config.json"
    settings = read_json(settings_path) if settings_path.is_file() else {}
    normalizer = {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": settings.get("tokenize_chinese_chars", True),
        "lowercase": settings.get("do_lower_case", True),
        "strip_accents": settings.get("strip_accents"),
    }
    return Vocabulary(_by_id(path, ids), _plain(normalizer))


def _of_json(path: Path) -> Vocabulary:
    content = read_json(path)
    model, normalizer = content.get("model"), content.get("normalizer")
    vocab = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocab, list):  # unigram: pieces with their scores, in the order of their ids
        if not all(isinstance(entry, list) and entry for entry in vocab):
            raise ValueError(
                f"{path}: model.vocab has an entry that is not a piece with its score; the file is damaged"
            )
        vocab = {entry[0]: number for number, entry in enumerate(vocab)}
    added = content.get("added_tokens") or []
    if not isinstance(vocab, dict) or not isinstance(added, list):
        raise ValueError(f"{path}: has no model.vocab or added_tokens that can be read; the file is damaged")
    try:
        ids = vocab | {entry["content"]: entry["id"] for entry in added}
    except (KeyError, TypeError):
        raise ValueError(f"{path}: added_tokens holds an entry without content or id; the file is damaged") from None
    return Vocabulary(_by_id(path, ids), _plain(normalizer if isinstance(normalizer, dict) else {"type": None}))


def _by_id(path: Path, ids: Mapping[Any, Any]) -> dict[int, str]:
    if not all(isinstance(token, str) and isinstance(number, int) for token, number in ids.items()):
        raise ValueError(f"{path}: the vocabulary has an entry that is not a token with its id; the file is damaged")
    return {number: token for token, number in ids.items()}


def _plain(normalizer: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings with the default of `strip_accents`, which for BERT's normalizer is `lowercase`."""
    settings = dict(normalizer)
    if settings.get("type") == "BertNormalizer" and settings.get("strip_accents") is None:
        settings["strip_accents"] = settings.get("lowercase")
    return settings


def first_difference(theirs: Vocabulary, ours: Vocabulary) -> str:
    """Returns a description of the first difference of two vocabularies; empty if they are equal."""
    if theirs.tokens != ours.tokens:
        number = min(
            number
            for number in theirs.tokens.keys() | ours.tokens.keys()
            if theirs.tokens.get(number) != ours.tokens.get(number)
        )
        first, second = (
            repr(side.tokens[number]) if number in side.tokens else f"none of {len(side.tokens)}"
            for side in (theirs, ours)
        )
        return f"token {number} is {first} there and {second} here"
    for key in sorted(theirs.normalizer.keys() | ours.normalizer.keys()):
        first, second = (str(side.normalizer.get(key))[:60] for side in (theirs, ours))
        if theirs.normalizer.get(key) != ours.normalizer.get(key):
            return f"normalizer {key} is {first} there and {second} here"
    return ""


def check_same_vocabulary(
    checkpoint: Path, rows: int, samples: Path, tokenizer: Path, vocab_size: int, field: str = "init_from"
) -> None:
    """Check that the embeddings of a checkpoint belong to the tokens of the samples.

    Args:
        checkpoint: directory of the checkpoint.
        rows: number of rows of its embeddings.
        samples: directory of the samples, for the message.
        tokenizer: the samples' tokenizer directory.
        vocab_size: number of the samples' token ids.
        field: field of the recipe that names the checkpoint, for the message.

    Raises:
        ValueError: the vocabularies differ; the message names the first difference.
    """
    theirs = checkpoint / "tokenizer"
    difference = first_difference(read_vocabulary(theirs), read_vocabulary(tokenizer))
    if difference:
        raise ValueError(
            f"{field} = {checkpoint}: its vocabulary is not that of data.samples = {samples} ({difference}); build "
            f"the samples with --vocab {theirs}"
        )
    if rows != vocab_size:
        raise ValueError(
            f"{field} = {checkpoint}: has {rows} embeddings, but the vocabulary of data.samples = {samples} has "
            f"{vocab_size} tokens; take a checkpoint with one embedding for each token"
        )
