"""The checkpoint that is exported: found, verified and read, also while its run is training."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.checkpoints import checkpoint
from pipeline.checkpoints.record import DamagedError, complete
from pipeline.conversion import huggingface
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
    pad_token_id: int
    """Id of the tokenizer's padding token."""
    weights: dict[str, Tensor]
    """Parameters in fp32 under the names of this project."""


def open_source(source: Path, averaged: bool, out: Path) -> Source:
    """Verify and read a checkpoint; of a run, the newest complete one that it has not deleted meanwhile.

    Args:
        source: directory of a checkpoint or of a run.
        averaged: whether the averaged weights are read.
        out: directory into which the tokenizer is copied, so that nothing of the checkpoint is needed afterwards.

    Raises:
        ValueError: it is damaged, has no such weights, or is that of a fine-tuning.
    """
    directory = next(iter(complete(source)), None) or checkpoint.resolve(source)
    try:
        return read_source(directory, "average" if averaged else "weight", out)
    except (OSError, DamagedError):
        if directory.exists() or directory == source:
            raise
    return open_source(source, averaged, out)


def read_source(directory: Path, part: str, out: Path) -> Source:
    """Verify a checkpoint, copy its tokenizer and read one part of its tensors: "weight" or "average"."""
    checkpoint.verify(directory)
    require_listed(directory)
    state = checkpoint.read_state(directory)
    if any(name.startswith("head.") for name in state["tensors"]):
        raise ValueError(
            f"{directory}: the checkpoint of a fine-tuning, which writes its model itself; use the directory model of "
            "the run"
        )
    whole = get_family(state["family"])
    config = checkpoint.model_config(directory, whole.config, state)
    family = whole.of(config)
    tokenizer = huggingface.tokenizer_of(directory / "tokenizer", state["vocab_size"])
    huggingface.copy_tokenizer(directory / "tokenizer", out, huggingface.longest_sequence(family, config))
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
    return Source(directory, state, family, config, tokenizer.pad_token_id, weights)


def require_listed(directory: Path) -> None:
    """Check that the manifest of a checkpoint lists every file of its tokenizer.

    Raises:
        ValueError: a file is not listed, so that it was added after the checkpoint had been written.
    """
    listed = read_json(directory / "manifest.json")["files"]
    for path in sorted((directory / "tokenizer").iterdir()):
        if str(path.relative_to(directory)) not in listed:
            raise ValueError(f"{path}: not in the checkpoint's manifest.json, so it was added later; remove it")
