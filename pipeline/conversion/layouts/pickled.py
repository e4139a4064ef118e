"""Checkpoints in pickle's format, of which only tensors, numbers, texts and containers of them are read."""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.checkpoints import model_files


def file_of(path: Path, pattern: str) -> Path | None:
    """Return the checkpoint: the path itself, or the only file of a directory that matches a pattern.

    Raises:
        ValueError: several files match, or the file is a link that leads out of the directory.
    """
    if path.is_file():
        return path
    found = sorted(path.glob(pattern))
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise ValueError(f"{path}: holds several checkpoints ({names}); name one of them")
    return model_files.find(path, found[0].name) if found else None


def load(path: Path, allow_pickle: bool) -> dict[str, Any]:
    """Return the content of a checkpoint.

    `argparse.Namespace`, in which trainers keep their options, is allowed: it holds values and executes nothing.

    Raises:
        ValueError: a pickle is not allowed; the file is damaged, holds other objects, or no dictionary.
    """
    if not allow_pickle:
        raise ValueError(
            f"{path}: a pickle; pass --allow_pickle true if you trust its source (only tensors, numbers and texts are "
            "read)"
        )
    try:
        with torch.serialization.safe_globals([Namespace]):
            read = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever the unpickler meets: UnpicklingError, RuntimeError, EOFError, KeyError, ...
        reason = model_files.unpickling_error(error)
        raise ValueError(
            f"{path}: not readable as tensors, numbers and texts alone ({reason}); save its state dict alone with the "
            "program that wrote it"
        ) from None
    if not isinstance(read, dict):
        raise ValueError(f"{path}: holds a {type(read).__name__}, expected a dictionary; name another file")
    return read


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Tensor]:
    """Return the tensors of nested dictionaries by dotted name; other values are left out."""
    flat: dict[str, Tensor] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        elif isinstance(value, Tensor):
            flat[f"{prefix}{key}"] = value
    return flat


def options(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the trainer, whether it kept them as `args` or as `cfg.model`."""
    found = content.get("args")
    if found is None and isinstance(content.get("cfg"), Mapping):
        found = content["cfg"].get("model")
    if isinstance(found, Namespace):
        return vars(found)
    return dict(found) if isinstance(found, Mapping) else {}


def required(path: Path, given: Mapping[str, Any], name: str) -> Any:
    """Return an option of the trainer.

    Raises:
        ValueError: the checkpoint does not have it.
    """
    if given.get(name) is None:
        raise ValueError(f"{path}: its options lack {name}, without which the model is not known; use another file")
    return given[name]


def whole_number(path: Path, given: Mapping[str, Any], name: str) -> int:
    """Return an option of the trainer that is a number from 1 on.

    Raises:
        ValueError: the checkpoint does not have it, or it is something else.
    """
    value = required(path, given, name)
    if type(value) is not int or value < 1:
        raise ValueError(f"{path}: {name} = {value!r}: must be a whole number from 1 on; use another file")
    return value
