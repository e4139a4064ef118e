"""A recipe that trains in seconds, and readers of the files of its run."""

import re
from pathlib import Path
from typing import Any

from pipeline.runlog.reader import METRICS, read_lines

RECIPE = """
run_dir = "{run}"
[data]
samples = "{samples}"
num_workers = 0
[model]
hidden_size = 32
num_hidden_layers = 2
num_attention_heads = 2
intermediate_size = 64
max_position_embeddings = 32
[batch]
global_batch_size = 24
micro_batch_size = 4
[optimizer]
lr = 1e-2
[schedule]
total_steps = 8
warmup_proportion = 0.25
[evaluation]
every = 4
[checkpoint]
every = 4
[logging]
every = 1
tensorboard = false
peak_tflops = 1
"""


SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "intermediate_size": 32,
    "global_batch_size": 8,
    "micro_batch_size": 2,
    "total_steps": 2,
}
"""Replacements of fields with which the recipe trains in about a second."""


def write_recipe(folder: Path, samples: Path, name: str = "run", **replacements: object) -> Path:
    """Write a recipe whose run is `folder`/`name`; `replacements` sets fields of these names in any section."""
    text = RECIPE.format(run=folder / name, samples=samples)
    for field, value in replacements.items():
        assert f"{field} = " in text, f"no field {field} in the tests' recipe"
        text = re.sub(rf"^{field} = .*$", f"{field} = {value}", text, flags=re.MULTILINE)
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


def curve(run: Path, kind: str = "train", key: str = "loss") -> list[float]:
    """Return the loss, or another figure, of each line of a kind."""
    return [line[key] for line in read_lines(run / METRICS)[0] if line["kind"] == kind]


def tensors(run: Path, step: int) -> dict[tuple[str, str], Any]:
    """Return the weights and moments of a checkpoint."""
    from pipeline.checkpoints.checkpoint import Reader

    reader = Reader(run / "checkpoints" / f"step-{step:08d}")
    return {(part, name): value for part in ("weight", "exp_avg", "exp_avg_sq") for name, value in reader.tensors(part)}
