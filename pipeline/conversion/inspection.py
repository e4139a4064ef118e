"""A description of a checkpoint: where it comes from, what it holds, and whether its files are what was written."""

from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

from pipeline.checkpoints import checkpoint
from pipeline.checkpoints.checkpoint import PARTS, Reader
from pipeline.checkpoints.record import read_manifest
from pipeline.families import get_family
from pipeline.runtime.formatting import binary_size

CONTENTS = {
    "weight": "weights",
    "exp_avg": "first moments",
    "exp_avg_sq": "second moments",
    "average": "averaged weights",
}
"""Part of a checkpoint -> its name in texts."""


def inspect_checkpoint(source: Path) -> Iterator[str]:
    """Yield lines about a checkpoint, or the newest one of a run: its training, metrics, files and tensors.

    One tensor is in memory at a time.

    Raises:
        ValueError: a file is missing, cut short or altered; the message names it.
    """
    directory = checkpoint.resolve(source)
    checkpoint.verify(directory)
    state, reader = checkpoint.read_state(directory), Reader(directory)
    yield str(directory)
    rows = {**training(directory, state), "contents": contents(reader), **metrics(state), "files": files(directory)}
    yield from (f"{name:14}{text}" for name, text in rows.items() if text)
    yield ""
    yield from tensors(reader)


def training(directory: Path, state: Mapping[str, Any]) -> dict[str, str]:
    """Return what the state records of the model and its training."""
    whole = get_family(state["family"])
    family = whole.of(checkpoint.model_config(directory, whole.config, dict(state)))
    sizes = [prod(shape) for shape in state["tensors"].values()]
    optimizer = state.get("recipe", {}).get("optimizer", {}).get("name", "")
    ranks = f"{state['world_size']} processes, ZeRO stage {state['zero_stage']}" if "zero_stage" in state else ""
    by = ", ".join(text for text in (ranks, state.get("precision", ""), optimizer) if text)
    return {
        "family": f"{state['family']}, {family.export.model_class} in transformers",
        "parameters": f"{sum(sizes):,} in {len(sizes):,} tensors, vocabulary {state['vocab_size']:,}",
        "step": f"{state['step']:,} ({state['optimizer_step']:,} updates), {state['consumed_samples']:,} samples",
        "trained with": by or "not recorded: the checkpoint was imported",
    }


def contents(reader: Reader) -> str:
    """Return the parts of the tensors that the checkpoint has."""
    return ", ".join(CONTENTS[part] for part in PARTS if reader.has(part))


def metrics(state: Mapping[str, Any]) -> dict[str, str]:
    """Return losses, accuracies and order gaps by kind of the metrics."""
    endings = ("loss", "accuracy", "order_gap")
    rows = {}
    for kind, values in state["metrics"].items():
        chosen = {name: value for name, value in values.items() if name.endswith(endings)}
        rows[kind] = ", ".join(f"{name} {value:.4f}" for name, value in chosen.items())
    return rows


def files(directory: Path) -> str:
    """Return number and size of the files, which have been verified."""
    entries = read_manifest(directory).values()
    size = binary_size(sum(entry["bytes"] for entry in entries))
    return f"{len(entries)} files, {size}; sizes and checksums are those of the manifest"


def tensors(reader: Reader) -> Iterator[str]:
    """Yield a line for each tensor with its shape, mean and standard deviation."""
    width = max(map(len, reader.shapes))
    shapes = {name: " x ".join(map(str, shape)) for name, shape in reader.shapes.items()}
    columns = max(len("shape"), *map(len, shapes.values()))
    yield f"{'weight':{width}}  {'shape':{columns}}  {'mean':>10}  {'std':>10}"
    for name, values in reader.tensors():
        mean, std = float(values.mean()), float(values.std(correction=0))
        yield f"{name:{width}}  {shapes[name]:{columns}}  {mean:10.3e}  {std:10.3e}"
