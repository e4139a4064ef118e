"""Export of a checkpoint as a Hugging Face model."""

from pathlib import Path

from pipeline.checkpoints import checkpoint
from pipeline.conversion import huggingface
from pipeline.conversion.card import model_card
from pipeline.families import get_family
from preprocessing.files import read_json


def export_checkpoint(source: Path, out: Path, averaged: bool = False) -> Path:
    """Write a checkpoint, or the newest one of a run, as a Hugging Face model; returns the checkpoint's directory.

    Args:
        source: directory of a checkpoint or of a run.
        out: directory of the Hugging Face model, which must not exist.
        averaged: whether to write the averaged weights.

    Raises:
        ValueError: the checkpoint is damaged or has no averaged weights, or `out` exists.
    """
    directory = checkpoint.resolve(source)
    checkpoint.verify(directory)
    require_listed(directory)
    state = checkpoint.read_state(directory)
    family = get_family(state["family"])
    reader, part = checkpoint.Reader(directory), "average" if averaged else "weight"
    if not reader.has(part):
        raise ValueError(
            f"--averaged true: {directory} has no averaged weights; train with schedule.average_last, or export without"
        )
    weights = dict(reader.tensors(part))
    out.parent.mkdir(parents=True, exist_ok=True)
    config = checkpoint.model_config(directory, family.config, state)
    card = model_card(out.name, state, averaged, family.of(config))
    huggingface.export(family, weights, config, directory / "tokenizer", out, card)
    return directory


def require_listed(directory: Path) -> None:
    """Check that the manifest of a checkpoint lists every file of its tokenizer.

    Raises:
        ValueError: a file is not listed, so that it was added after the checkpoint had been written.
    """
    listed = read_json(directory / "manifest.json")["files"]
    for path in sorted((directory / "tokenizer").iterdir()):
        if str(path.relative_to(directory)) not in listed:
            raise ValueError(f"{path}: not in the checkpoint's manifest.json, so it was added later; remove it")
