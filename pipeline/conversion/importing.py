"""Import of a Hugging Face model as a checkpoint for a recipe's `init_from`."""

import secrets
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from pipeline.checkpoints import checkpoint, model_files
from pipeline.conversion import huggingface
from pipeline.conversion.huggingface import Pretrained
from pipeline.families import family_names, get_family
from pipeline.model.config import EncoderConfig


def import_pretrained(model: Path, out: Path, family: str, allow_pickle: bool) -> str:
    """Write a Hugging Face model as a checkpoint; returns the class of `transformers` as which it was read.

    Args:
        model: directory that `transformers` saved, with pre-training heads and tokenizer.
        out: directory of the checkpoint, which must not exist.
        family: family of the model; empty: the one that its configuration names.
        allow_pickle: whether to read pytorch_model.bin, as tensors only, if there is no safetensors file.

    Raises:
        ValueError: the model is not of this family, or `out` exists.
    """
    if out.exists():
        raise ValueError(f"{out} exists; choose another directory or remove it")
    family = family or family_of(model)
    pretrained = huggingface.read_pretrained(get_family(family), model, allow_pickle)
    model_files.tokenizer_files(model)
    temporary = out.with_name(f".{out.name}.{secrets.token_hex(4)}.tmp")
    try:
        (temporary / ".tokenizer").mkdir(parents=True)
        longest = huggingface.longest_sequence(get_family(family), pretrained.config)
        huggingface.copy_tokenizer(model, temporary / ".tokenizer", longest)
        write_imported(pretrained, temporary, out, family)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return get_family(family).of(pretrained.config).export.model_class


def family_of(model: Path) -> str:
    """The family that `model_type` of a directory's `config.json` names; older directories of BERT have none.

    Raises:
        ValueError: there is no such configuration, or its model is of no family here.
    """
    name = model_files.read_config(model).get("model_type", "bert")
    if name not in family_names():
        known = ", ".join(family_names())
        raise ValueError(f"{model / model_files.CONFIG}: model_type = {name!r}: must be one of {known}")
    return str(name)


def write_imported(pretrained: Pretrained, temporary: Path, out: Path, family: str) -> None:
    """Publish an imported model as the checkpoint `out`."""
    parameters = unique(pretrained.state_dict)
    path = temporary / "rank-00000.safetensors"
    weights = {f"weight|{name}|0": value.reshape(-1).contiguous() for name, value in parameters.items()}
    entry = checkpoint.write_tensors(path, weights)
    state = imported_state(family, pretrained.config, pretrained.vocab_size, parameters)
    checkpoint.publish(temporary, out, state, {path.name: entry}, temporary / ".tokenizer")


def imported_state(
    family: str, config: EncoderConfig, vocab_size: int, parameters: dict[str, Tensor]
) -> dict[str, Any]:
    """Return the content of state.json for an imported model, which has step 0 and no recipe."""
    return {
        "step": 0,
        "consumed_samples": 0,
        "optimizer_step": 0,
        "family": family,
        "model": asdict(config),
        "vocab_size": vocab_size,
        "tensors": {name: list(value.shape) for name, value in parameters.items()},
        "metrics": {},
    }


def unique(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return each parameter once: tied ones under the first of their names."""
    seen: set[int] = set()
    kept = {}
    for name, value in state_dict.items():
        if value.data_ptr() not in seen:
            seen.add(value.data_ptr())
            kept[name] = value
    return kept
