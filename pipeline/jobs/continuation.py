"""The recipe with which training goes on from a checkpoint, such as one that was imported.

The model's section follows from the checkpoint; everything else is that of the recipe `continue_domain`.
"""

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline.checkpoints import checkpoint
from pipeline.config import parse
from pipeline.families import get_family
from pipeline.model.config import EncoderConfig
from pipeline.runtime.options import read_toml
from pipeline.runtime.recipes import find
from preprocessing.files import write_text

TEMPLATE = "continue_domain"
"""Name of the recipe that supplies what does not follow from a checkpoint."""
LONGEST = 512
"""Longest samples, in tokens, that a written recipe names."""


def beginning(source: Path) -> str:
    """Return the lines of a recipe that follow from the checkpoint it starts from: the family and the model.

    Args:
        source: directory of the checkpoint.

    Raises:
        ValueError: it is no checkpoint, or is damaged.
    """
    return toml(_of_checkpoint(source))


def write_recipe(source: Path, path: Path) -> None:
    """Write a whole recipe that starts from a checkpoint.

    Args:
        source: directory of the checkpoint.
        path: file of the recipe, which must not exist.

    Raises:
        ValueError: the file exists, or the checkpoint is damaged.
    """
    require_new(path)
    values = read_toml(find(TEMPLATE)) | _of_checkpoint(source)
    family = get_family(values["family"])
    config = checkpoint.model_config(source, family.config, checkpoint.read_state(source))
    form = family.of(config)
    length, segments = min(LONGEST, config.max_position_embeddings - form.template.first_position), form.samples[0]
    values["run_dir"] = f"runs/{path.stem}"
    values["data"] = values["data"] | {"samples": f"data/samples{length}" + f"-{segments}" * (segments != "nsp")}
    values["masking"] = other_than_default(form.corruption, values["masking"])
    text = (
        f"# Continues the training of {source}: docs/continue.md. Samples:\n"
        f"# python -m preprocessing run --out data --vocab {source / 'tokenizer'} --segments {segments} "
        f"--max_seq_length {length} --sources ...\n{toml(values)}"
    )
    with TemporaryDirectory(prefix="bert-recipe-") as directory:  # what does not parse is not written
        write_text(Path(directory) / path.name, text)
        parse(["--recipe", str(Path(directory) / path.name)])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)


def require_new(path: Path) -> None:
    """Raise ValueError if the file of a recipe exists."""
    if path.exists():
        raise ValueError(f"--recipe {path}: exists; name another file or remove it")


def _of_checkpoint(source: Path) -> dict[str, Any]:
    state = checkpoint.read_state(source)
    config = checkpoint.model_config(source, get_family(state["family"]).config, state)
    return {"family": state["family"], "init_from": str(source), "model": stated(config)}


def stated(config: EncoderConfig) -> dict[str, Any]:
    """Return the fields of a model that a recipe must state: those without a default, or with another value."""
    return {
        each.name: getattr(config, each.name)
        for each in fields(config)
        if each.default is MISSING or getattr(config, each.name) != each.default
    }


def other_than_default(section: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of those fields that a section of a recipe has, and that differ from their defaults."""
    defaults = {each.name: each.default for each in fields(section)}
    return {name: value for name, value in values.items() if name in defaults and value != defaults[name]}


def toml(values: Mapping[str, Any]) -> str:
    """Return numbers, texts and sections of them as TOML, the sections last."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items() if not isinstance(value, Mapping)]
    for key, section in values.items():
        if isinstance(section, Mapping) and section:
            lines += ["", f"[{key}]", *(f"{name} = {json.dumps(value)}" for name, value in section.items())]
    return "\n".join(lines) + "\n"
