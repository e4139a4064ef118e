"""Checkpoints with random weights, and runs of them, made without training."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from finetuning_data import (
    VOCAB_SIZE,
    write_albert,
    write_deberta,
    write_distilbert,
    write_megatron_bert,
    write_model,
    write_modernbert,
    write_roberta,
    write_spanbert,
)
from safetensors.torch import load_file
from samples import write_tokenizer

from pipeline.checkpoints import checkpoint
from pipeline.conversion.huggingface import export
from pipeline.conversion.importing import ImportOptions, import_pretrained
from pipeline.families.electra import FAMILY as ELECTRA
from pipeline.families.electra import ElectraConfig
from preprocessing.files import write_json


def write_electra(directory: Path) -> Path:
    """Write a pre-trained ELECTRA with its generator."""
    write_tokenizer(directory.with_name("tokenizer"), VOCAB_SIZE)
    config = ElectraConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        embedding_size=8,
        generator_fraction=0.5,
        max_position_embeddings=32,
        initializer_range=0.2,
    )
    torch.manual_seed(0)
    state = ELECTRA.build(config, VOCAB_SIZE).state_dict()
    export(ELECTRA, state, config, directory.with_name("tokenizer"), directory, "")
    return directory


WRITERS: dict[str, Callable[[Path], Path]] = {
    "bert": write_model,
    "roberta": write_roberta,
    "albert": write_albert,
    "electra": write_electra,
    "deberta": write_deberta,
    "distilbert": write_distilbert,
    "spanbert": write_spanbert,
    "megatron_bert": write_megatron_bert,
    "modernbert": write_modernbert,
}


def write_checkpoint(folder: Path, family: str) -> Path:
    """Write a checkpoint of a family into a directory of its name."""
    options = ImportOptions(family, new_heads=family == "spanbert")  # an export lacks the head of span boundaries
    import_pretrained(WRITERS[family](folder / f"{family}-model"), folder / family, options)
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
