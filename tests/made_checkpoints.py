"""Checkpoints with random weights, and runs of them, made without training."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from finetuning_data import write_model, write_roberta
from safetensors.torch import load_file

from pipeline.checkpoints import checkpoint
from pipeline.conversion.importing import import_pretrained
from preprocessing.files import write_json

WRITERS: dict[str, Callable[[Path], Path]] = {"bert": write_model, "roberta": write_roberta}


def write_checkpoint(folder: Path, family: str) -> Path:
    """Write a checkpoint of a family into a directory of its name."""
    import_pretrained(WRITERS[family](folder / f"{family}-model"), folder / family, family, False)
    return folder / family


def add_step(source: Path, run: Path, step: int, change: Callable[[dict], Any] = lambda tensors: None) -> Path:
    """Add a copy of a checkpoint to a run as that of a step, with its tensors changed."""
    directory = run / "checkpoints" / f"step-{step:08d}"
    shutil.copytree(source, directory)
    rewrite_tensors(directory, change)
    rewrite_state(directory, lambda state: state.update(step=step))
    return directory


def rewrite_tensors(directory: Path, change: Callable[[dict], Any]) -> None:
    """Change the tensors of a checkpoint of one rank."""
    path = directory / checkpoint.rank_file(0)
    tensors = load_file(path)
    change(tensors)
    _list(directory, {path.name: checkpoint.write_tensors(path, tensors)})


def rewrite_state(directory: Path, change: Callable[[dict], Any]) -> None:
    """Change the state of a checkpoint."""
    path = directory / "state.json"
    state = json.loads(path.read_text())
    change(state)
    write_json(path, state)
    _list(directory, {path.name: checkpoint.manifest_entry(path)})


def _list(directory: Path, entries: dict[str, Any]) -> None:
    """Write entries into the manifest of a checkpoint."""
    manifest = json.loads((directory / "manifest.json").read_text())
    manifest["files"] |= entries
    write_json(directory / "manifest.json", manifest)
