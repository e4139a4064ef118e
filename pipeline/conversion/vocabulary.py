"""The tokenizer of an imported model: its files, its size, and further tokens at its end."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.checkpoints import model_files
from pipeline.conversion import huggingface
from pipeline.conversion.layouts.base import Source

CASED_SHARE = 0.005
"""Share of the tokens with upper-case letters above which a vocab.txt is taken as cased: 29 % of the tokens of
bert-base-cased have some, none of bert-base-uncased."""


def adopt(source: Source, target: Path, model_type: str, longest: int) -> tuple[str, ...]:
    """Copy the tokenizer of a model into a directory, and state there what its own files leave open.

    Args:
        source: the model.
        target: an existing empty directory.
        model_type: `model_type` of the model in `transformers`, which determines the tokenizer's class if no file
            names it.
        longest: longest sequence of the model in tokens.

    Returns:
        Sentences about what was concluded from the tokens.

    Raises:
        ValueError: there is no tokenizer, or `transformers` cannot load it.
    """
    for name, text in source.texts.items():
        (target / name).write_text(text, encoding="utf-8")
    if not source.texts:
        huggingface.copy_tokenizer(source.tokenizer, target)
    path = target / model_files.TOKENIZER_CONFIG
    settings = model_files.read_json(path) if path.exists() else {}
    notes = []
    if not (target / "tokenizer.json").exists() and (target / "vocab.txt").exists() and "do_lower_case" not in settings:
        settings["do_lower_case"] = not is_cased((target / "vocab.txt").read_text(encoding="utf-8").split("\n"))
        case = "lower case" if settings["do_lower_case"] else "cased"
        notes.append(
            f"vocab.txt is taken as {case}, because of its tokens; do_lower_case in a tokenizer_config.json beside it "
            "takes precedence"
        )
    _write_json(path, settings | {"model_max_length": longest})
    (target / model_files.CONFIG).write_text(json.dumps({"model_type": model_type}), encoding="utf-8")
    try:
        loaded = huggingface.load_tokenizer(target)
    except ValueError as error:
        raise ValueError(str(error).replace(str(target), str(source.tokenizer))) from None
    if "tokenizer_class" not in settings:
        settings["tokenizer_class"] = type(loaded).__name__.removesuffix("Fast")
    _write_json(path, settings | {"model_max_length": longest})
    (target / model_files.CONFIG).unlink()
    return tuple(notes)


def is_cased(tokens: Sequence[str]) -> bool:
    """Return whether a vocabulary has tokens with upper-case letters, beside names such as [MASK]."""
    words = [token for token in tokens if not token.startswith("[")]
    return sum(token != token.lower() for token in words) > CASED_SHARE * len(words)


def size(directory: Path) -> int:
    """Return the number of ids of a tokenizer: its largest id and one more."""
    return size_of(huggingface.load_tokenizer(directory))


def size_of(tokenizer: Any) -> int:
    """Return the number of ids of a tokenizer of `transformers`: its largest id and one more."""
    return max(tokenizer.get_vocab().values(), default=-1) + 1


def require_consecutive(directory: Path, tokenizer: Any) -> None:
    """Raise ValueError unless the ids of a tokenizer have no gap, as an export requires it.

    Args:
        directory: directory of the tokenizer, for the message.
        tokenizer: the tokenizer of `transformers`.
    """
    if len(tokenizer) != size_of(tokenizer):
        raise ValueError(
            f"{directory}: the tokenizer has {len(tokenizer):,} tokens, whose ids go up to {size_of(tokenizer) - 1:,}; "
            "number its tokens from 0 without a gap, or take the tokenizer that the model was trained with"
        )


def append(directory: Path, tokens: Sequence[str]) -> None:
    """Give new tokens the ids behind the last one of a tokenizer, in all of its files.

    WordPiece finds a new token where a whole word equals it. A byte-level BPE never produces one, because no merge
    leads to it.

    Args:
        directory: of the tokenizer, whose files are changed.
        tokens: new ones.

    Raises:
        ValueError: a file is of another kind, or its ids are not those of its lines; no file was changed.
    """
    start, changed = size(directory), {}
    ids = {token: start + number for number, token in enumerate(tokens)}
    if whole := model_files.find(directory, "tokenizer.json"):
        content = model_files.read_json(whole)
        if not isinstance((content.get("model") or {}).get("vocab"), dict):
            raise ValueError(f"{whole}: only the vocabularies of WordPiece and byte-level BPE can be extended")
        content["model"]["vocab"] |= ids
        changed[whole] = json.dumps(content, ensure_ascii=False)
    if table := model_files.find(directory, "vocab.json"):
        changed[table] = json.dumps(model_files.read_json(table) | ids, ensure_ascii=False)
    if lines := model_files.find(directory, "vocab.txt"):
        text = lines.read_text(encoding="utf-8").removesuffix("\n")
        if text.count("\n") + 1 != start:
            raise ValueError(
                f"{lines}: has {text.count(chr(10)) + 1:,} lines, but the tokenizer {start:,} ids; remove the tokens "
                "that were added behind it"
            )
        changed[lines] = "\n".join([text, *tokens]) + "\n"
    if not changed:
        raise ValueError(f"{directory}: holds no tokenizer.json, vocab.json or vocab.txt, which alone can be extended")
    for path, text in changed.items():
        path.write_text(text, encoding="utf-8")


def placeholders(directory: Path, number: int) -> list[str]:
    """Return names for rows without a token that no text contains and the tokenizer does not have."""
    taken, start = huggingface.load_tokenizer(directory).get_vocab(), size(directory)
    names = [f"[unused_row{start + count}]" for count in range(number)]
    if repeated := [name for name in names if name in taken]:
        raise ValueError(f"{directory}: already has a token {repeated[0]}; pass --extra_rows trim")
    return names


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
