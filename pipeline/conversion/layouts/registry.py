"""The layouts by name, and the detection of a model's layout from its files."""

import importlib
from pathlib import Path
from typing import Any

from pipeline.conversion.layouts.base import Source

LAYOUTS = ("megatron", "huggingface", "fairseq", "tensorflow", "nvidia")
"""Names of the modules of this package, in the order in which they are tried."""
KNOWN_FILES = {
    "megatron": "model_optim_rng.pt",
    "huggingface": "config.json of transformers, or modules.json of sentence-transformers",
    "fairseq": "dict.txt and a .pt file",
    "tensorflow": ".index and .data files with bert_config.json",
    "nvidia": "bert_config.json and a .pt file",
}
"""The files by which each layout is recognised, for messages."""


def detect(path: Path) -> str:
    """Return the name of the first layout that matches the files of a path.

    Raises:
        ValueError: there is no such path, or none matches.
    """
    if not path.exists():
        raise ValueError(f"{path}: no such file or directory; name the directory of a pre-trained model")
    for name in LAYOUTS:
        if _module(name).matches(path):
            return name
    known = "; ".join(f"{name}: {files}" for name, files in KNOWN_FILES.items())
    raise ValueError(f"{path} has no config.json and no file of another known layout ({known}); name another directory")


def read(path: Path, layout: str = "", allow_pickle: bool = False) -> Source:
    """Find a model and read the names and shapes of its parameters.

    Args:
        path: directory or file of the model.
        layout: one of LAYOUTS; empty: the one that its files show.
        allow_pickle: whether files in pickle's format may be read, as tensors only.

    Raises:
        ValueError: the layout does not exist, or a file of the model is missing, damaged or not allowed.
    """
    if layout and layout not in LAYOUTS:
        raise ValueError(f"--layout {layout}: must be one of {', '.join(LAYOUTS)}, or be left out")
    source: Source = _module(layout or detect(path)).read(path, allow_pickle)
    return source


def _module(name: str) -> Any:
    return importlib.import_module(f"pipeline.conversion.layouts.{name}")
