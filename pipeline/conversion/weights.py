"""Weights of checkpoints, of model directories and of single files, which are read one tensor at a time."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from pipeline.checkpoints import checkpoint, model_files
from pipeline.checkpoints.checkpoint import Reader
from pipeline.runtime.options import flatten
from preprocessing.files import atomic_path

SUFFIX = ".safetensors"
OF_WRITERS = ("transformers_version", "_name_or_path")
"""Fields of a config.json about the program that wrote it."""


@dataclass(frozen=True, eq=False)
class Weights:
    """The weights of a model."""

    path: Path
    """The directory or file that has them."""
    ours: bool
    """Whether tensors have their names in this project, or else those in `transformers`."""
    fields: Mapping[str, Any]
    """Configuration of the model by dotted name."""
    shapes: Mapping[str, tuple[int, ...]]
    """Shape of each tensor by its name."""
    read: Callable[[str], Tensor]
    """Returns a tensor in fp32."""


def open_weights(path: Path) -> Weights:
    """Open the weights of a checkpoint, of the newest one of a run, of a model directory, or of a consolidated file.

    Raises:
        ValueError: it is none of these, or is damaged.
    """
    if path.is_file():
        return _of_file(path)
    if (path / model_files.CONFIG).exists():
        return _of_model(path)
    return _of_checkpoint(checkpoint.resolve(path))


def _of_checkpoint(directory: Path) -> Weights:
    checkpoint.verify(directory)
    reader = Reader(directory)

    def read(name: str) -> Tensor:
        shape = reader.shapes[name]
        return reader.read("weight", name, 0, prod(shape)).view(shape)

    shapes = {name: tuple(shape) for name, shape in reader.shapes.items()}
    return Weights(directory, True, flatten(configuration(checkpoint.read_state(directory))), shapes, read)


def configuration(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a checkpoint's state that determine the model."""
    return {name: state[name] for name in ("family", "vocab_size", "model")}


def _of_model(directory: Path) -> Weights:
    fields = flatten(model_files.read_config(directory))
    files = model_files.weight_files(directory)
    shapes = {name: tuple(value.shape) for name, value in model_files.outlines(files).items()}
    opened = [safe_open(path, framework="pt") for path in files]
    places = {name: file for file in opened for name in file.keys()}  # noqa: SIM118 - not a dict
    kept = {name: value for name, value in fields.items() if name not in OF_WRITERS}
    return Weights(directory, False, kept, shapes, lambda name: places[name].get_tensor(name).float())


def _of_file(path: Path) -> Weights:
    try:
        file = safe_open(path, framework="pt")
        fields = flatten(json.loads((file.metadata() or {})["configuration"]))
    except (SafetensorError, KeyError, ValueError, RecursionError, AttributeError):
        raise ValueError(f"{path}: not written by convert consolidate; name such a file, or a directory") from None
    shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - not a dict
    return Weights(path, True, fields, shapes, lambda name: file.get_tensor(name).float())


def consolidate(source: Path, out: Path) -> Path:
    """Write the weights of a checkpoint, or of the newest one of a run, in fp32 as one safetensors file.

    Names are those of this project. The file has no optimizer state; its metadata have the configuration of the model,
    the step and the number of samples, in JSON.

    Returns:
        The directory of the checkpoint.

    Raises:
        ValueError: the checkpoint is damaged, or `out` exists or has another suffix.
    """
    if out.suffix != SUFFIX:
        raise ValueError(f"out = {out}: must end in {SUFFIX}, which is the format of the file")
    if out.exists():
        raise ValueError(f"{out} exists; choose another file or remove it")
    weights = open_weights(source)
    if not (weights.path / "state.json").is_file():
        raise ValueError(f"{source}: neither a checkpoint nor a run; a model has its weights in safetensors already")
    state = checkpoint.read_state(weights.path)
    metadata = {"format": "pt", "configuration": json.dumps(configuration(state))}
    metadata |= {name: str(state[name]) for name in ("step", "consumed_samples")}
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(out) as temporary:
        checkpoint.write_tensors(temporary, {name: weights.read(name) for name in weights.shapes}, metadata)
    return weights.path
