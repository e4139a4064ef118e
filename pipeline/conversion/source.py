"""The checkpoint that is exported: found, verified and read, also while its run is training."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.checkpoints import checkpoint
from pipeline.checkpoints.record import DamagedError, complete
from pipeline.families import get_family
from pipeline.families.base import Family
from pipeline.model.config import EncoderConfig
from preprocessing.files import read_json


@dataclass(frozen=True, eq=False)
class Source:
    """A verified checkpoint, with the weights that are exported."""

    directory: Path
    state: Mapping[str, Any]
    family: Family[Any]
    config: EncoderConfig
    weights: dict[str, Tensor]
    """Parameters in fp32 under the names of this project."""


def open_source(source: Path, averaged: bool) -> Source:
    """Verify and read a checkpoint; of a run, the newest complete one that it has not deleted meanwhile.

    Raises:
        ValueError: it is damaged, has no such weights, or is that of a fine-tuning.
    """
    directory = next(iter(complete(source)), None) or checkpoint.resolve(source)
    try:
        return read_source(directory, "average" if averaged else "weight")
    except (OSError, DamagedError):
        if directory.exists() or directory == source:
            raise
    return open_source(source, averaged)


def read_source(directory: Path, part: str) -> Source:
    """Verify and read one part of the tensors of a checkpoint: "weight" or "average"."""
    checkpoint.verify(directory)
    require_listed(directory)
    state = checkpoint.read_state(directory)
    if any(name.startswith("head.") for name in state["tensors"]):
        raise ValueError(
            f"{directory}: the checkpoint of a fine-tuning, which writes its model itself; use the directory model of "
            "the run"
        )
    reader = checkpoint.Reader(directory)
    if not reader.has(part):
        raise ValueError(
            f"--averaged true: {directory} has no averaged weights; train with schedule.average_last, or export without"
        )
    weights = dict(reader.tensors(part))
    for name, value in weights.items():
        if not torch.isfinite(value).all():
            raise ValueError(
                f"{directory}: {name} holds NaN or infinite values, because training diverged; export an earlier one"
            )
    family = get_family(state["family"])
    config = checkpoint.model_config(directory, family.config, state)
    return Source(directory, state, family.of(config), config, weights)


def require_listed(directory: Path) -> None:
    """Check that the manifest of a checkpoint lists every file of its tokenizer.

    Raises:
        ValueError: a file is not listed, so that it was added after the checkpoint had been written.
    """
    listed = read_json(directory / "manifest.json")["files"]
    for path in sorted((directory / "tokenizer").iterdir()):
        if str(path.relative_to(directory)) not in listed:
            raise ValueError(f"{path}: not in the checkpoint's manifest.json, so it was added later; remove it")
