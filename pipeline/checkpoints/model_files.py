"""The files of a Hugging Face model directory from an untrusted source: read, checked, and never executed.

A directory may hold code (`auto_map`), pickles (`pytorch_model.bin`), links and names that lead elsewhere. Only regular
files inside the directory are read, code of a model is refused, and a pickle needs the caller's permission; even then
it is read as tensors only. What remains is JSON and safetensors, whose headers are compared with the configuration
before memory is allocated for a tensor.
"""

import json
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

CONFIG, TOKENIZER_CONFIG = "config.json", "tokenizer_config.json"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLE, PICKLE_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
TOKENIZER_FILES = (
    "tokenizer.json",
    TOKENIZER_CONFIG,
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "spm.model",
)
"""Files that a tokenizer may consist of; no tokenizer has all of them."""

_CODE_KEYS = ("auto_map", "custom_pipelines")
"""Keys with which a configuration refers to code of its own."""
_MAX_JSON_BYTES = 256 << 20
"""Largest JSON file that is read; a tokenizer of a million tokens has about 100 MB."""


def find(directory: Path, name: str) -> Path | None:
    """The regular file of that name in a directory, or None where there is none.

    Raises:
        ValueError: the name or a link leads out of the directory, or the file is a pipe, a device or a directory.
    """
    path = directory / name
    if Path(name).name != name or name == "..":
        raise ValueError(f"{directory}: file name {name!r} leads out of the directory; get the model from its source")
    if not path.is_symlink() and not path.exists():
        return None
    if not path.resolve().is_relative_to(directory.resolve()):
        raise ValueError(
            f"{path}: a link to {path.resolve()}, outside of the directory; copy the model with its files first "
            "(cp -rL FROM TO)"
        )
    if not path.exists() or not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f"{path}: not a regular file; get the model from its source")
    return path


def subdirectory(directory: Path, name: str) -> Path:
    """The folder of that name directly in a directory; an empty name is the directory itself.

    Raises:
        ValueError: the name or a link leads out of the directory, or there is no such folder.
    """
    path = directory / name
    if name not in ("", ".") and (Path(name).name != name or name == ".."):
        raise ValueError(f"{directory}: folder name {name!r} leads out of the directory; get the model from its source")
    if not path.is_dir() or not path.resolve().is_relative_to(directory.resolve()):
        raise ValueError(f"{path}: no folder of this directory; get the model from its source again")
    return path


def read_list(path: Path) -> list[Any]:
    """A JSON list.

    Raises:
        ValueError: the file is no JSON list, or is too large.
    """
    values = _parsed(path)
    if not isinstance(values, list):
        raise ValueError(
            f"{path}: holds a JSON {type(values).__name__}, expected a list; get the file from its source again"
        )
    return values


def _parsed(path: Path) -> Any:
    if path.stat().st_size > _MAX_JSON_BYTES:
        size = path.stat().st_size
        raise ValueError(f"{path}: {size:,} bytes, at most {_MAX_JSON_BYTES:,} are read; get the file again")
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: not valid JSON ({error}); get the file from its source again") from None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object that names no code.

    Raises:
        ValueError: the file is no JSON object, is too large, or names code that the model or tokenizer needs.
    """
    values = _parsed(path)
    if not isinstance(values, dict):
        raise ValueError(f"{path}: holds a JSON {type(values).__name__}, expected an object; get the file again")
    for key in _CODE_KEYS:
        if values.get(key):
            raise ValueError(
                f"{path}: {key} names code that comes with the model ({json.dumps(values[key])[:200]}), and code is "
                "never executed; use a model that a class of transformers computes"
            )
    for key, value in values.items():
        if key.endswith("_implementation") and "/" in str(value):
            raise ValueError(f"{path}: {key} = {value!r} names code on a hub, and code is never executed; remove it")
    return values


def read_config(directory: Path) -> dict[str, Any]:
    """`config.json` of a model directory.

    Raises:
        ValueError: there is none, or it is not what `read_json` takes.
    """
    path = find(directory, CONFIG) if directory.is_dir() else None
    if path is None:
        raise ValueError(f"{directory} has no {CONFIG}: name a directory that save_pretrained or an export wrote")
    return read_json(path)


def architecture(path: Path, fields: Mapping[str, Any]) -> str:
    """The class of `transformers` that a configuration names; empty if it names none.

    Args:
        path: the file, for messages.
        fields: its content.

    Raises:
        ValueError: `architectures` is no list of names.
    """
    named = fields.get("architectures") or [""]
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise ValueError(f"{path}: architectures = {named!r}: must be a list of names of classes; restore config.json")
    return str(named[0])


def class_names(path: Path, fields: Mapping[str, Any], outputs: int) -> tuple[str, ...]:
    """The names of the classes in a `config.json`; a class without a name has the one of `transformers`.

    Args:
        path: the file, for messages.
        fields: its content.
        outputs: number of classes.

    Raises:
        ValueError: `id2label` does not map numbers to names.
    """
    named = fields.get("id2label") or {}
    try:
        names = {int(number): str(name) for number, name in named.items()}
    except (AttributeError, ValueError):
        raise ValueError(f"{path}: id2label = {named!r}: must map numbers to names; restore config.json") from None
    return tuple(names.get(number, f"LABEL_{number}") for number in range(outputs))


def tokenizer_files(directory: Path) -> list[Path]:
    """The files of the tokenizer in a directory, checked.

    Raises:
        ValueError: there is no such directory or no tokenizer, a file is no regular one, or a tokenizer of its own
            code is asked for.
    """
    if not directory.is_dir():
        raise ValueError(f"{directory} is no directory: name one that holds a tokenizer (tokenizer.json)")
    files = [path for name in TOKENIZER_FILES if (path := find(directory, name))]
    if not {path.name for path in files} - {TOKENIZER_CONFIG, "special_tokens_map.json", "added_tokens.json"}:
        raise ValueError(f"{directory} holds no tokenizer: copy tokenizer.json, vocab.txt or the .model there")
    for path in files:
        if path.suffix == ".json" and path.name not in ("tokenizer.json", "vocab.json"):
            read_json(path)
    return files


def weight_files(directory: Path, allow_pickle: bool = False) -> list[Path]:
    """The files of the weights in a directory: safetensors, or pickles where they are allowed and there are no others.

    Raises:
        ValueError: there are none, only pickles that are not allowed, or an index names a file that is not there, not
            in the directory or of another kind.
    """
    if whole := find(directory, WEIGHTS):
        return [whole]
    if index := find(directory, INDEX):
        return _indexed(index, Path(WEIGHTS).suffix)
    pickled, index = find(directory, PICKLE), find(directory, PICKLE_INDEX)
    if not (found := pickled or index):
        raise ValueError(f"{directory}: holds no {WEIGHTS} and no {INDEX}; get the model with its weights")
    if not allow_pickle:
        what = "a pickle" if pickled else "the index of pickles"
        raise ValueError(
            f"{found}: {what}, and there is no {WEIGHTS}; save the model as safetensors, or, if you trust its "
            "source, pass --allow_pickle true to pipeline.convert import, which reads tensors only, and export it"
        )
    return [pickled] if pickled else _indexed(found, Path(PICKLE).suffix)


def _indexed(index: Path, suffix: str) -> list[Path]:
    """The files that an index names, in alphabetical order.

    Raises:
        ValueError: the index does not say which file holds each tensor, or names a file that is not there, not in its
            directory, or has another suffix, so that an index of safetensors names no pickle.
    """
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names or not all(isinstance(name, str) for name in names.values()):
        raise ValueError(
            f"{index}: weight_map must say which file holds each tensor; get the index from its source again"
        )
    files = {name: find(index.parent, name) for name in sorted(set(names.values()))}
    for name, path in files.items():
        if not name.endswith(suffix):
            raise ValueError(f"{index}: {name} must end in {suffix}; get the model from its source again")
        if path is None:
            raise ValueError(f"{index}: {name} is missing; get the model from its source again")
    return [path for path in files.values() if path is not None]


def outlines(files: Iterable[Path]) -> dict[str, Tensor]:
    """Names, shapes and types of the tensors in safetensors files or pickles, as tensors without memory.

    Raises:
        ValueError: a file is damaged, or a tensor is in two files or holds no floating-point numbers.
    """
    return {name: value.to("meta") for name, value in _tensors(files, with_values=False)}


def values(files: Iterable[Path]) -> dict[str, Tensor]:
    """The tensors in fp32.

    Raises:
        ValueError: as `outlines`; also where a value is NaN or infinite.
    """
    return finite(_tensors(files, with_values=True))


def finite(tensors: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors in fp32.

    Raises:
        ValueError: a value is NaN or infinite; the message names the tensor.
    """
    read: dict[str, Tensor] = {}
    for name, value in tensors:
        read[name] = value.to(torch.float32)
        if not torch.isfinite(read[name]).all():
            raise ValueError(
                f"{name}: holds NaN or infinite values: it is damaged, or its training diverged; take another model"
            )
    return read


def _tensors(files: Iterable[Path], with_values: bool) -> Iterator[tuple[str, Tensor]]:
    known: dict[str, Path] = {}
    for path in files:
        is_pickle = path.suffix == Path(PICKLE).suffix
        for name, value in _pickled(path) if is_pickle else _safe(path, with_values):
            if name in known:
                raise ValueError(
                    f"{path}: {name} is in {known[name].name} as well; get the model from its source again"
                )
            known[name] = path
            if not value.is_floating_point() and not name.endswith(("position_ids", "token_type_ids")):
                raise ValueError(
                    f"{path}: {name} holds {value.dtype}, expected floating-point numbers; take another model"
                )
            yield name, value


def _safe(path: Path, with_values: bool) -> Iterator[tuple[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a dict
                if with_values:
                    yield name, file.get_tensor(name)
                else:
                    part = file.get_slice(name)
                    yield name, torch.empty(part.get_shape(), dtype=_dtype(path, name, part.get_dtype()), device="meta")
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(f"{path}: not readable as safetensors ({error}); get the file from its source again") from None


_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_DTYPES |= {"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8}
_DTYPES |= {"BOOL": torch.bool}


def _dtype(path: Path, name: str, dtype: str) -> torch.dtype:
    if dtype not in _DTYPES:
        raise ValueError(
            f"{path}: {name} holds {dtype}, expected 16-, 32- or 64-bit floating-point numbers; take another model"
        )
    return _DTYPES[dtype]


def _pickled(path: Path) -> Iterator[tuple[str, Tensor]]:
    try:
        read = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever the unpickler meets: UnpicklingError, RuntimeError, EOFError, KeyError, ...
        raise ValueError(
            f"{path}: not readable as tensors alone ({unpickling_error(error)}); get the model as safetensors"
        ) from None
    if not isinstance(read, Mapping) or not all(isinstance(value, Tensor) for value in read.values()):
        raise ValueError(f"{path}: holds something else than a dictionary of tensors; get the model as safetensors")
    yield from read.items()


def unpickling_error(error: Exception) -> str:
    """What a pickle holds that is not read, without torch's advice to read it nevertheless; else the kind of error."""
    reason = str(error).partition("WeightsUnpickler error: ")[2].partition("\n")[0]
    return reason.partition(". Please ")[0].partition(" was not an allowed ")[0].strip() or type(error).__name__


@contextmanager
def only(files: Iterable[Path]) -> Iterator[Path]:
    """A directory that shows these files and nothing else, for a library that would look for more."""
    with TemporaryDirectory(prefix="bert-model-") as directory:
        for path in files:
            (Path(directory) / path.name).symlink_to(path.resolve())
        yield Path(directory)
